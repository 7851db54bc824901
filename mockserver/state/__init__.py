"""What a conversation leaves behind for the requests that continue it."""
