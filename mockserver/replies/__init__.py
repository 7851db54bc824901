"""A reply while it is sent: token by token, or whole."""
