"""An application that uses Django's tasks."""
