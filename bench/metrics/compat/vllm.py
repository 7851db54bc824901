"""`vllm bench serve`, its Rust client; the Python client did the same for chats until it looked into deltas (0.33)."""

from bench.metrics.compat.tool import PerToken, Tool

TOOL = Tool(
    title="vllm bench serve",
    version="0.33.0, Rust client",
    ttft="choice",
    e2el="choice",
    tpot=PerToken("choice", "choice", 1),
    itl="choice",
    tokens="usage or choices",
    differs={
        "ttft_ms": "TTFT ends at the first chunk with choices: a role chunk ahead of the first token counts as one.",
        "e2el_ms": "E2EL ends at the last chunk with choices, even if that has a finish reason and no text.",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1) by those two, also where the first chunk holds several tokens.",
        "itl_ms": "ITL is every gap between chunks with choices, however many tokens they hold; the gap behind a role "
        "chunk is one.",
        "output_tokens": "Without usage each chunk with choices is taken for a token.",
    },
)
