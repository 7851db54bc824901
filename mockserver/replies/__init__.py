"""A reply while it is being sent: token by token, or whole."""
