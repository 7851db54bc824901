"""What the files that are published by a schema hold, as types."""
