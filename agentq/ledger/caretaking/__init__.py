"""The caretaker's moves in the ledger: for due, lost and late jobs. Every call is bounded."""
