"""The record of what was done: the ledger, its file, metrics, and assertions about them."""
