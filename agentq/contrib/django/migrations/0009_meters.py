"""Meters of a limit beside its slots: starts and tokens in a time, cooldowns."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with rates, tokens and cooldowns of limits."""

    dependencies = [("agentq", "0008_backlog")]

    operations = [ledger_revision("0009")]
