"""Sleeps: jobs that are done at a time."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with jobs that sleep."""

    dependencies = [("agentq", "0010_holds")]

    operations = [ledger_revision("0011")]
