"""Backlogs: caps of the open workflows of a tenant, and of the jobs of a step that wait."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with what is counted where there is a cap."""

    dependencies = [("agentq", "0007_limits")]

    operations = [ledger_revision("0008")]
