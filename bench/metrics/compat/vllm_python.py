"""`vllm bench serve`, its Python client from 0.33 on: a role chunk is no longer taken for a token of a chat."""

from dataclasses import replace

from bench.metrics.compat.tool import PerToken, Tool

_CHAT = Tool(
    title="vllm bench serve (Python)",
    version="0.33.0",
    ttft="output",
    e2el="output",
    tpot=PerToken("output", "output", 1),
    itl="output",
    tokens="usage or counted",
    inputs=frozenset({"texts", "documents"}),
    differs={
        "ttft_ms": "TTFT ends at the first chunk with text or with an empty content: a token may decode to nothing.",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1), also where the first chunk holds several tokens.",
        "itl_ms": "ITL is every gap between chunks with text or an empty content, however many tokens they hold.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
_RESPONSES = replace(
    _CHAT,
    ttft="text",
    e2el="text",
    tpot=PerToken("text", "text", 1),
    itl="text",
    differs={
        "ttft_ms": "TTFT ends at the first delta of text or reasoning: tool calls are none.",
        "e2el_ms": "E2EL ends at the last delta of text or reasoning: tool calls are none.",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1), also where the first chunk holds several tokens.",
        "itl_ms": "ITL is every gap between deltas of text or reasoning, however many tokens they hold.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
"""Read in 0.32."""
TOOL = replace(_CHAT, others={"responses": _RESPONSES})
