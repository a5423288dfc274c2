"""The reading of exceptions: category, cause, and the data that is kept."""
