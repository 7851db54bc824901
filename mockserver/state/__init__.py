"""What a conversation stores for the requests that continue it."""
