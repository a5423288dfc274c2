"""Where Celery lives: the app's set-up, tasks, attempts, dispatch, the caretaker."""
