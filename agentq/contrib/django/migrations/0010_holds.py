"""Slots that attempts hold beside those of their jobs, and strict limits; limits are on the admin's pages."""

from django.db import migrations, models

from agentq.contrib.django.revisions import ledger_revision


class Migration(migrations.Migration):
    """The ledger's schema with slots that attempts hold."""

    dependencies = [("agentq", "0009_meters")]

    operations = [
        ledger_revision("0010"),
        migrations.CreateModel(
            name="Limit",
            fields=[("name", models.CharField(max_length=255, primary_key=True))],
            options={
                "db_table": "agentq_limits",
                "managed": False,
                "default_permissions": ("view",),
                "ordering": ("-is_awaited", "name"),
                "permissions": [("pause_limit", "Can pause limit")],
            },
        ),
    ]
