"""Reports."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The table of reports."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=200)),
                ("workflow", models.UUIDField(null=True)),
                ("text", models.TextField(blank=True)),
            ],
        ),
    ]
