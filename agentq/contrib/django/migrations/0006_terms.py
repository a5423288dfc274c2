"""The terms of a workflow: the policies and parameters of its steps, as its start knew them."""

from django.db import migrations

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with the terms of a workflow's steps."""

    dependencies = [("agentq", "0005_knowledge")]

    operations = [ledger_revision("0006")]
