"""The knowledge of each worker: the steps and plain tasks that it can run."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with the queues, steps and tasks of each worker."""

    dependencies = [("agentq", "0004_words")]

    operations = [ledger_revision("0005")]
