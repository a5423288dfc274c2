"""Slots that attempts hold beside those of their jobs, and strict limits."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with slots that attempts hold."""

    dependencies = [("agentq", "0009_meters")]

    operations = [ledger_revision("0010")]
