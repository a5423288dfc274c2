"""The one query and command API, a module per noun: every surface calls only this. No Celery here."""
