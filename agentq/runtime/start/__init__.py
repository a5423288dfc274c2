"""Starts of workflows: their options, the caller's own transaction, what they knew of their steps."""
