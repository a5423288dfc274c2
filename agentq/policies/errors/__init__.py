"""What an exception is: its category, its cause, and the data that is kept of it."""
