"""JSON that satisfies a schema and has a given length in tokens: tool call arguments, and replies with a response
format."""
