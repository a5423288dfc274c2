"""What keeps the ledger moving when workers, messages and time do what they do. Every call is bounded."""
