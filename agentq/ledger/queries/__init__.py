"""Queries of the ledger for people and handles."""
