"""Schedules in code: declared on an app, written to the ledger, and entries of Celery's beat."""
