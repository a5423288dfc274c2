"""Workflows and jobs."""

from django.db import migrations, models

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's first schema; of the models, Django keeps only that they are not its own."""

    initial = True

    dependencies: list[tuple[str, str]] = []

    operations = [
        ledger_revision("0001"),
        migrations.CreateModel(
            name="Workflow",
            fields=[("id", models.UUIDField(primary_key=True))],
            options={
                "db_table": "agentq_workflows",
                "managed": False,
                "default_permissions": ("view",),
                "ordering": ("-id",),
                "permissions": [("cancel_workflow", "Can cancel workflow")],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[("id", models.UUIDField(primary_key=True))],
            options={
                "db_table": "agentq_jobs",
                "managed": False,
                "default_permissions": ("view",),
                "ordering": ("-id",),
                "permissions": [("cancel_job", "Can cancel job")],
            },
        ),
    ]
