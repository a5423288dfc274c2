"""Pure decisions: which error, how often, how long. No database, no Celery."""
