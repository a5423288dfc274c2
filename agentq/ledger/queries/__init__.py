"""What people and handles ask the ledger."""
