"""The modules that lean on the insides of Celery and kombu."""
