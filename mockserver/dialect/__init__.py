"""What requests and replies look like: the OpenAI API as vLLM serves it, SSE, CORS, API keys, the mock's own headers."""
