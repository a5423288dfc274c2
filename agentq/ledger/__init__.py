"""The ledger: the SQL database that is the source of truth. SQLAlchemy only; no Celery here."""
