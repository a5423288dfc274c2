"""Django's migrations, each of which runs one of the ledger's own."""
