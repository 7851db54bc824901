"""The tools, one value each. To add one, add a value here and a line to TOOLS."""

from __future__ import annotations

from dataclasses import replace

from bench.metrics.compat.tool import PerToken, Tokens, Tool

_VLLM_PYTHON_CHAT = Tool(
    title="vllm bench serve (Python)",
    version="0.34.0",
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
_VLLM_PYTHON_COMPLETIONS = replace(
    _VLLM_PYTHON_CHAT,
    ttft="choice",
    e2el="choice",
    tpot=PerToken("choice", "choice", 1),
    itl="choice",
    differs={
        "ttft_ms": "TTFT ends at the first chunk with choices, even without text.",
        "e2el_ms": "E2EL ends at the last chunk with choices, even if that has a finish reason and no text.",
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1) by those two, also where the first chunk holds several tokens.",
        "itl_ms": "ITL is every gap between chunks with choices, however many tokens they hold.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
_VLLM_PYTHON_RESPONSES = replace(
    _VLLM_PYTHON_CHAT,
    ttft="token",
    e2el="token",
    tpot=PerToken("token", "token", 1),
    itl="token",
    differs={
        "tpot_ms": "TPOT is (E2EL - TTFT) / (n - 1), also where the first chunk holds several tokens.",
        "itl_ms": "ITL is every gap between deltas of text, reasoning or tool calls, however many tokens they hold.",
        "output_tokens": "Without usage the text is tokenised again.",
    },
)
"""A summary of the reasoning is not among its deltas; in a record it is."""
_VLLM_PYTHON = replace(
    _VLLM_PYTHON_CHAT, others={"completions": _VLLM_PYTHON_COMPLETIONS, "responses": _VLLM_PYTHON_RESPONSES}
)
"""`vllm bench serve`, its Python client. Until 0.32 a role chunk counted as a token of a chat."""


def _of_rust(python: Tool, tokens: Tokens, counted: str) -> Tool:
    """The same definitions in the Rust client, which counts the chunks of a response without usage."""
    return replace(
        python,
        title="vllm bench serve",
        version="0.34.0, Rust client",
        tokens=tokens,
        inputs=frozenset(),
        differs={**python.differs, "output_tokens": f"Without usage each {counted} is taken for a token."},
    )


_VLLM = replace(
    _of_rust(_VLLM_PYTHON_CHAT, "usage or outputs", "chunk with text or an empty content"),
    others={
        "completions": _of_rust(_VLLM_PYTHON_COMPLETIONS, "usage or choices", "chunk with choices"),
        "responses": _of_rust(_VLLM_PYTHON_RESPONSES, "usage or chunks", "delta with text"),
    },
)
"""`vllm bench serve`, its Rust client, as it answers to replies of every form. Until 0.33 a role chunk counted as a token
of a chat, and a finish reason alone as its end."""

_AIPERF_PER_TOKEN = PerToken("token", "token", 1)

_AIPERF_CHAT = Tool(
    title="aiperf",
    version="0.13.0",
    ttft="token",
    e2el="token",
    tpot=_AIPERF_PER_TOKEN,
    itl=_AIPERF_PER_TOKEN,
    tokens="counted",
    inputs=frozenset({"texts", "documents"}),
    differs={
        "tpot_ms": "TPOT, which it calls inter-token latency, is (E2EL - TTFT) / (n - 1), with n from its own tokenizer.",
        "itl_ms": "ITL is one mean a request, the same number as TPOT: single gaps, and so stalls, are not in it.",
        "output_tokens": "Output tokens are counted by tokenising the text again, not taken from usage.",
    },
)
_AIPERF = replace(_AIPERF_CHAT, others={"messages": _AIPERF_CHAT, "responses": _AIPERF_CHAT})
"""NVIDIA's aiperf."""

_GUIDELLM_CHAT = Tool(
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
_GUIDELLM_RESPONSES = replace(
    _GUIDELLM_CHAT, differs={**_GUIDELLM_CHAT.differs, "e2el_ms": "Request latency ends at the last event."}
)
_GUIDELLM = replace(_GUIDELLM_CHAT, others={"responses": _GUIDELLM_RESPONSES})
"""guidellm."""

_SGLANG = Tool(
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
"""`python -m sglang.bench_serving` with the backend sglang-oai-chat or vllm-chat."""

_GENAI_BENCH = Tool(
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
"""genai-bench, its OpenAI user."""

_EVALSCOPE_CHAT = Tool(
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
_EVALSCOPE_RESPONSES = replace(
    _EVALSCOPE_CHAT,
    e2el="event",
    tpot=PerToken("token", "event", 1),
    differs={**_EVALSCOPE_CHAT.differs, "e2el_ms": "Latency ends at the last event, which has the usage."},
)
_EVALSCOPE = replace(_EVALSCOPE_CHAT, others={"responses": _EVALSCOPE_RESPONSES})
"""`evalscope perf`."""

_INFERENCE_PERF = Tool(
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
"""kubernetes-sigs' inference-perf, chats. Its end comes after it has tokenised the reply; that time is unknown."""

_LLMPERF = Tool(
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
"""Ray's llmperf, `token_benchmark_ray.py` with the API openai."""

TOOLS: dict[str, Tool] = {
    "vllm": _VLLM,
    "vllm_python": _VLLM_PYTHON,
    "aiperf": _AIPERF,
    "guidellm": _GUIDELLM,
    "sglang": _SGLANG,
    "genai_bench": _GENAI_BENCH,
    "evalscope": _EVALSCOPE,
    "inference_perf": _INFERENCE_PERF,
    "llmperf": _LLMPERF,
}
"""Every tool, by its key in `compat` of summary.json, in the order of the results."""
