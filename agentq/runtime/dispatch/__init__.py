"""Dispatch: the messages of jobs, and the broker that they are published to."""
