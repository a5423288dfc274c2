"""The database beneath the ledger: sessions, the drivers, statements, column types, the schema."""
