"""JSON that satisfies a schema, of a length in tokens: the arguments of tool calls, and replies with a response format."""
