"""The Celery side: the app's set-up, tasks, attempts, dispatch, the caretaker."""
