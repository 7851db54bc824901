"""`python -m sglang.bench_serving` with the backend sglang-oai-chat or vllm-chat."""

from bench.metrics.compat.tool import PerToken, Tool

TOOL = Tool(
    title="sglang bench_serving",
    version="0.5.23",
    ttft="text",
    e2el="event",
    tpot=PerToken("text", "event", 1),
    itl="text",
    tokens="usage or asked",
    inputs=frozenset({"texts"}),
    differs={
        "ttft_ms": "TTFT ends at the first content or reasoning; tool calls do not count.",
        "e2el_ms": "E2EL ends at the last line that is not empty: usage and [DONE] are in it.",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1): the wait for usage and [DONE] is spread over the tokens.",
        "itl_ms": "ITL is every gap between chunks with content or reasoning, however many tokens they hold.",
        "output_tokens": "Without usage the number of tokens that was asked for is taken for the number that came.",
    },
)
