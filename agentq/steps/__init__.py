"""A step: its parameters, its context, and the way of its values into the ledger and back."""
