"""The way of values to JSON and back, and what their annotations promise."""
