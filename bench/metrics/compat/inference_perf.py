"""kubernetes-sigs' inference-perf, chats. Its end comes after it has tokenised the reply: that time cannot be told."""

from bench.metrics.compat.tool import PerToken, Tool

TOOL = Tool(
    title="inference-perf",
    version="0.7.0",
    ttft="content",
    e2el="end",
    tpot=PerToken("content", "content", 1),
    itl="retokenised",
    tokens="counted content",
    differs={
        "ttft_ms": "TTFT ends at the first content: reasoning and tool calls do not count.",
        "e2el_ms": "Request latency ends with the response, and then with the client's own tokenising of it, which is "
        "not in the number here.",
        "tpot_ms": "TPOT is (last - first content) / (n - 1), with n from its own tokenizer.",
        "itl_ms": "ITL gives every token of a chunk the chunk's arrival: the tokens of one chunk are 0 apart.",
        "output_tokens": "Output tokens are counted by tokenising the content again.",
    },
)
