"""Statuses and kinds as domains."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with domains for words, on PostgreSQL."""

    dependencies = [("agentq", "0003_events")]

    operations = [ledger_revision("0004")]
