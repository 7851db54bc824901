"""The format of requests and replies: the OpenAI API as vLLM serves it, SSE, CORS, API keys, the mock's own headers."""
