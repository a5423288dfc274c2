"""Dead letters."""

from django.db import migrations, models

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with dead letters."""

    dependencies = [("agentq", "0001_initial")]

    operations = [
        ledger_revision("0002"),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[("id", models.UUIDField(primary_key=True))],
            options={
                "db_table": "agentq_dead_letters",
                "verbose_name": "dead letter",
                "managed": False,
                "default_permissions": ("view",),
                "ordering": ("-id",),
                "permissions": [
                    ("replay_deadletter", "Can replay dead letter"),
                    ("cancel_deadletter", "Can cancel dead letter"),
                ],
            },
        ),
    ]
