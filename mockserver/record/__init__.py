"""What was done: the ledger, its file, metrics, and what tests assert about them."""
