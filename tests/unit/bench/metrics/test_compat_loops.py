"""The compatible columns against the client loops, as in the tools' sources."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.compat_columns import printed_by_tools
from tests.support.made_records import MS, START_NS, made_record

# The client loops, as in their sources. A chunk is (arrival, letter, tokens); DONE is the last o.


@dataclass
class LoopResult:
    """The result of a client's loop: ms from sending, and the number of tokens. TPOT divides `decoded` by n - 1 (by n
    if `whole`)."""

    ttft: float | None
    latency: float | None
    itl: list[float]
    n: int
    decoded: float | None
    whole: bool = False

    @property
    def tpot(self) -> float | None:
        by = self.n if self.whole else self.n - 1
        return None if self.decoded is None or by < 1 else self.decoded / by


Chunk = tuple[float, str, int]
Loop = Callable[[list[Chunk], float, int, int], LoopResult]


def _split(chunks: list[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    return (chunks[:-1], chunks[-1:]) if chunks and chunks[-1][1] == "o" else (chunks, [])


def _gap_loop(takes: Callable[[list[Chunk], int], bool], ends: str) -> Loop:
    """Clients that look at each message, may count it as a token, and keep the gap since the previous one."""

    def loop(chunks: list[Chunk], end: float, usage: int, counted: int) -> LoopResult:
        messages, done = _split(chunks)
        ttft, before, last, itl = None, None, None, []
        for position, (at, kind, _) in enumerate(messages):
            if takes(messages, position):
                if before is None:
                    ttft = at
                else:
                    itl.append(at - before)
                before = at
            last = at
            if ends == "usage" and kind == "u":
                break
        else:
            if done and ends in ("event", "usage"):
                last = done[0][0]
        latency = {"taken": before, "event": last, "data": last, "usage": last, "end": end}[ends]
        return LoopResult(ttft, latency, itl, usage, None if ttft is None or latency is None else latency - ttft)

    return loop


def _kind_in(letters: str) -> Callable[[list[Chunk], int], bool]:
    return lambda messages, position: messages[position][1] in letters


def _output(messages: list[Chunk], position: int) -> bool:
    kind = messages[position][1]
    later_text = any(other in "ctf" for _, other, _ in messages[position:])
    return kind in "ctf" or (kind == "o" and (later_text or not any(k in "ctf" for _, k, _ in messages)))


def _inference_perf(chunks: list[Chunk], end: float, usage: int, counted: int) -> LoopResult:
    times = [at for at, kind, tokens in chunks if kind == "c" for _ in range(tokens)]
    content = [at for at, kind, _ in chunks if kind == "c"]
    decoded = content[-1] - content[0] if content else None
    first = content[0] if content else None
    return LoopResult(first, end, [b - a for a, b in itertools.pairwise(times)], len(times), decoded)


def _aiperf(chunks: list[Chunk], end: float, usage: int, counted: int) -> LoopResult:
    content = [at for at, kind, _ in chunks if kind in "ctf"]
    if not content:
        return LoopResult(None, None, [], counted, None)
    found = LoopResult(content[0], content[-1], [], counted, content[-1] - content[0])
    found.itl = [] if found.tpot is None else [found.tpot]
    return found


def _llmperf(chunks: list[Chunk], end: float, usage: int, counted: int) -> LoopResult:
    content = [(at, tokens) for at, kind, tokens in chunks if kind == "c"]
    n = sum(tokens for _, tokens in content)
    # The client sums the time to the first token and the gaps after it, which is the time to the last token.
    itl = [content[-1][0] / n] if n else []
    return LoopResult(content[0][0] if content else None, end, itl, n, None)


def _guidellm(chunks: list[Chunk], end: float, usage: int, counted: int) -> LoopResult:
    content = [at for at, kind, _ in chunks if kind in "ctf"]
    messages, done = _split(chunks)
    latency = (done or messages)[-1][0]
    if not content:
        return LoopResult(None, latency, [], usage, None)
    itl = [(content[-1] - content[0]) / (usage - 1)] if usage > 1 else []
    return LoopResult(content[0], latency, itl, usage, content[-1], whole=True)


LOOPS: dict[str, Loop] = {
    "vllm": _gap_loop(_output, "taken"),
    "vllm_python": _gap_loop(_output, "taken"),
    "sglang": _gap_loop(_kind_in("ct"), "event"),
    "evalscope": _gap_loop(_kind_in("ctf"), "data"),
    "genai_bench": _gap_loop(_kind_in("ct"), "usage"),
    "inference_perf": _inference_perf,
    "aiperf": _aiperf,
    "llmperf": _llmperf,
    "guidellm": _guidellm,
}

RANKED = ("evalscope", "guidellm")
NOT_PRINTED = {("genai_bench", "itl_ms"), ("llmperf", "tpot_ms")}

REPLIES = st.lists(
    st.tuples(
        st.text("rctfo", min_size=1, max_size=9),
        st.sampled_from(["", "u", "o", "uo", "oo", "ouo", "uou"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60)
@given(replies=REPLIES, chance=st.randoms(use_true_random=False))
def test_any_reply_is_read_as_the_client_s_loop_reads_it(
    replies: list[tuple[str, str, bool]], chance: random.Random
) -> None:
    records = []
    seen: list[tuple[list[Chunk], float, int, int]] = []
    for index, (inner, tail, single) in enumerate(replies):
        kinds = inner + tail
        times = list(itertools.accumulate(chance.randint(1, 40) for _ in kinds))
        tokens = [(1 if single else chance.randint(0, 3)) if kind in "ctf" else 0 for kind in kinds]
        end = times[-1] + chance.randint(0, 5)
        usage = sum(tokens) + chance.randint(0, 1)
        end_ns = START_NS + end * MS
        records.append(
            made_record(index, chunks_ms=times, kinds=kinds, tokens=tokens, n=usage, end_ns=end_ns,
                        output_tokens_counted=sum(tokens))
        )  # fmt: skip
        seen.append((list(zip(times, kinds, tokens, strict=True)), end, usage, sum(tokens)))
    printed = printed_by_tools(records)
    for tool, loop in LOOPS.items():
        _prints_what_its_loop_reads(tool, printed[tool], [loop(*one) for one in seen])
    printed, loop = printed_by_tools(records, endpoint="completions"), _gap_loop(_kind_in("rctfo"), "taken")
    for tool in ("vllm", "vllm_python"):
        _prints_what_its_loop_reads(tool, printed[tool], [loop(*one) for one in seen])


def _prints_what_its_loop_reads(tool: str, printed: dict[str, Any], seen: list[LoopResult]) -> None:
    weights = {"tpot_ms": [one.n for one in seen], "itl_ms": [one.n - 1 for one in seen]} if tool == "guidellm" else {}
    for key, found in (
        ("ttft_ms", [[] if one.ttft is None else [one.ttft] for one in seen]),
        ("e2el_ms", [[] if one.latency is None else [one.latency] for one in seen]),
        ("tpot_ms", [[] if one.tpot is None else [one.tpot] for one in seen]),
        ("itl_ms", [one.itl for one in seen]),
    ):
        values = [value for of_one in found for value in of_one]
        if not values or (tool, key) in NOT_PRINTED:
            assert printed[key] is None, (tool, key)
            continue
        weight = None
        if key in weights:
            weight = np.array([w for w, of_one in zip(weights[key], found, strict=True) for _ in of_one], float)
        assert printed[key]["n"] == len(values), (tool, key)
        assert printed[key]["mean"] == pytest.approx(np.average(values, weights=weight)), (tool, key)
        if tool in RANKED:
            p99 = np.quantile(values, 0.99, method="inverted_cdf", weights=weight)
        else:
            assert weight is None
            p99 = np.quantile(values, 0.99)
        assert printed[key]["p99"] == pytest.approx(p99), (tool, key)
