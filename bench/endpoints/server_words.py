"""A server's own numbers for one request, besides its usage: how long it waited and computed, and how many drafts were
accepted.

    vLLM          `metrics` (--enable-per-request-metrics): queue_time_ms, time_to_first_token_ms (from the first step on: the
                  prefill), generation_time_ms (first token to last); `metrics.speculative_decoding`
                  (--per-request-spec-decode-metrics): num_spec_steps, num_draft_tokens, num_accepted_draft_tokens,
                  acceptance_histogram (entry j: steps that accepted j drafts)
    llama.cpp     `timings`: prompt_ms (prefill), predicted_ms (first token to last), draft_n, draft_n_accepted

Both are at the root of a reply, or of the last chunk that has choices or usage. Impossible values become None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from bench.endpoints.usage import whole_number
from bench.records import ServerWords

MOST_POSITIONS = 1000
"""No server proposes more drafts at once."""

SILENT = ServerWords()


def server_words(metrics: object, timings: object) -> ServerWords:
    """The numbers in a reply's `metrics` and `timings`; if both have one, vLLM's counts."""
    if not isinstance(metrics, dict) and not isinstance(timings, dict):
        return SILENT
    of_vllm: Mapping[str, Any] = metrics if isinstance(metrics, dict) else {}
    of_llama: Mapping[str, Any] = timings if isinstance(timings, dict) else {}
    prefill_ms, decode_ms = _ms(of_vllm.get("time_to_first_token_ms")), _ms(of_vllm.get("generation_time_ms"))
    drafts = of_vllm.get("speculative_decoding")
    of_drafts: Mapping[str, Any] = drafts if isinstance(drafts, dict) else {}
    drafted = _count(of_drafts.get("num_draft_tokens"))
    accepted = _count(of_drafts.get("num_accepted_draft_tokens"))
    drafted = _count(of_llama.get("draft_n")) if drafted is None else drafted
    accepted = _count(of_llama.get("draft_n_accepted")) if accepted is None else accepted
    if drafted is not None and accepted is not None and accepted > drafted:
        drafted = accepted = None
    return ServerWords(
        server_queue_ms=_ms(of_vllm.get("queue_time_ms")),
        server_prefill_ms=_ms(of_llama.get("prompt_ms")) if prefill_ms is None else prefill_ms,
        server_decode_ms=_ms(of_llama.get("predicted_ms")) if decode_ms is None else decode_ms,
        draft_steps=_count(of_drafts.get("num_spec_steps")),
        draft_tokens=drafted,
        accepted_tokens=accepted,
        acceptance=_acceptance(of_drafts),
    )


def workers_of(nvext: object) -> str | None:
    """The worker that answered, from Dynamo's `nvext.worker_id` if the request asks for it (`nvext.extra_fields`): the
    worker that did the prefill, and the one that decoded if they differ."""
    workers = nvext.get("worker_id") if isinstance(nvext, dict) else None
    if not isinstance(workers, dict):
        return None
    parts = {role: workers.get(f"{role}_worker_id") for role in ("prefill", "decode")}
    named = {role: f"{name}" for role, name in parts.items() if isinstance(name, int | str)}
    if len(set(named.values())) == 1:
        return f"worker {next(iter(named.values()))}"
    return ", ".join(f"{role} {name}" for role, name in named.items()) or None


def _ms(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _count(value: object) -> int | None:
    number = whole_number(value)
    return number if number is not None and number >= 0 else None


def _acceptance(drafts: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Steps that accepted at least 1, 2, ... drafts, from the steps that accepted exactly 0, 1, 2, ..."""
    histogram = drafts.get("acceptance_histogram")
    if not isinstance(histogram, list) or not 0 < len(histogram) <= MOST_POSITIONS + 1:
        return None
    steps = [count for value in histogram if (count := _count(value)) is not None]
    if len(steps) != len(histogram) or sum(steps) != drafts.get("num_spec_steps"):
        return None
    return tuple(accumulate(reversed(steps[1:])))[::-1]
