"""Events of a workflow."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with what steps tell."""

    dependencies = [("agentq", "0002_dead_letters")]

    operations = [ledger_revision("0003")]
