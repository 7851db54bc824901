"""guidellm."""

from dataclasses import replace

from bench.metrics.compat.tool import PerToken, Tool

_CHAT = Tool(
    title="guidellm",
    version="0.8.1",
    ttft="token",
    e2el="event",
    tpot=PerToken(None, "token", 0, weighted=True),
    itl=PerToken("token", "token", 1, weighted=True),
    tokens="usage or chunks",
    quantiles="rank",
    differs={
        "e2el_ms": "Request latency ends at [DONE].",
        "tpot_ms": "TPOT is (last token - sending) / n: the time to first token is in it. Requests weigh by n.",
        "itl_ms": "ITL is one mean a request, (last - first token) / (n - 1), weighed by n - 1: single gaps are not in it.",
        "output_tokens": "Without usage each chunk with text is taken for a token.",
    },
)
_RESPONSES = replace(_CHAT, differs={**_CHAT.differs, "e2el_ms": "Request latency ends at the last event."})
TOOL = replace(_CHAT, others={"responses": _RESPONSES})
