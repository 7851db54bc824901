"""Ray's llmperf, `token_benchmark_ray.py` with the API openai."""

from bench.metrics.compat.tool import PerToken, Tool

TOOL = Tool(
    title="llmperf",
    version="main of 2024",
    ttft="content",
    e2el="end",
    tpot=None,
    itl=PerToken(None, "content", 0),
    tokens="counted content",
    differs={
        "ttft_ms": "TTFT ends at the first content: reasoning and tool calls do not count.",
        "e2el_ms": "E2EL ends with the response: usage and [DONE] are in it.",
        "itl_ms": "ITL is one mean a request, (last content - sending) / n: the time to first token is in it.",
        "output_tokens": "Output tokens are counted by tokenising the content with Llama's tokenizer, whatever the model.",
    },
)
