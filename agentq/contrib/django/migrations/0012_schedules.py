"""Schedules, their changes, and the tick that started a workflow."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with schedules."""

    dependencies = [("agentq", "0011_sleep")]

    operations = [ledger_revision("0012")]
