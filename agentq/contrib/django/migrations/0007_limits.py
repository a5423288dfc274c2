"""Limits: jobs that wait for a slot of each of theirs, in turns of their tenants."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with limits and the jobs that these hold back."""

    dependencies = [("agentq", "0006_terms")]

    operations = [ledger_revision("0007")]
