"""NVIDIA's aiperf."""

from dataclasses import replace

from bench.metrics.compat.tool import PerToken, Tool

_PER_TOKEN = PerToken("token", "token", 1)

_CHAT = Tool(
    title="aiperf",
    version="0.13.0",
    ttft="token",
    e2el="token",
    tpot=_PER_TOKEN,
    itl=_PER_TOKEN,
    tokens="counted",
    inputs=frozenset({"texts", "documents"}),
    differs={
        "tpot_ms": "TPOT, which it calls inter-token latency, is (E2EL - TTFT) / (n - 1), with n from its own tokenizer.",
        "itl_ms": "ITL is one mean a request, the same number as TPOT: single gaps, and so stalls, are not in it.",
        "output_tokens": "Output tokens are counted by tokenising the text again, not taken from usage.",
    },
)
TOOL = replace(_CHAT, others={"messages": _CHAT, "responses": _CHAT})
