"""The audit: what must never be in a ledger."""
