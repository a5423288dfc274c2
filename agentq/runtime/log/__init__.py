"""The lines of a worker's log."""
