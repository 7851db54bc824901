"""`evalscope perf`."""

from dataclasses import replace

from bench.metrics.compat.tool import PerToken, Tool

_CHAT = Tool(
    title="evalscope perf",
    version="1.14.1",
    ttft="token",
    e2el="data",
    tpot=PerToken("token", "data", 1),
    itl="token",
    tokens="usage or counted",
    quantiles="rank",
    differs={
        "e2el_ms": "Latency ends at the last message but [DONE]: the usage chunk is in it.",
        "tpot_ms": "TPOT is (latency - TTFT) / (n - 1): the wait for usage is spread over the tokens.",
        "itl_ms": "ITL is every gap between chunks with text, however many tokens they hold.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
_RESPONSES = replace(
    _CHAT,
    e2el="event",
    tpot=PerToken("token", "event", 1),
    differs={**_CHAT.differs, "e2el_ms": "Latency ends at the last event, which has the usage."},
)
TOOL = replace(_CHAT, others={"responses": _RESPONSES})
