"""Worker processes and their shared state."""
