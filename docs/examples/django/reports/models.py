"""What the application keeps."""

from django.db import models


class Report(models.Model):
    """A report on a topic, and the workflow that writes it."""

    topic = models.CharField(max_length=200)
    workflow = models.UUIDField(null=True)
    text = models.TextField(blank=True)
