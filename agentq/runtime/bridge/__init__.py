"""What leans on the insides of Celery and kombu."""
