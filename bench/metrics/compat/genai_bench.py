"""genai-bench, its OpenAI user."""

from bench.metrics.compat.tool import PerToken, Tool

TOOL = Tool(
    title="genai-bench",
    version="0.0.5",
    ttft="text",
    e2el="usage",
    tpot=PerToken("text", "usage", 1),
    itl=None,
    tokens="usage or counted",
    inputs=frozenset({"texts"}),
    differs={
        "ttft_ms": "TTFT ends at the first content or reasoning; tool calls do not count.",
        "e2el_ms": "E2EL ends when the usage chunk has come (without one: at [DONE]).",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1): the wait for usage is spread over the tokens.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
