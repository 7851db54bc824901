"""The details of its work that a reply reports with --reply-details, in the formats of vLLM 0.32 and of llama.cpp.

    cached_tokens          usage.prompt_tokens_details                 vLLM's --enable-prompt-tokens-details
    metrics                metrics: times of this request              vLLM's --enable-per-request-metrics
    speculative_decoding   metrics.speculative_decoding                vLLM's --per-request-spec-decode-metrics summary
    timings                timings: times, tokens and drafts           llama.cpp

They appear next to the usage of the whole reply: in the last chunk before `[DONE]`, or in the body. Responses have
vLLM's times inside the response, without drafts, and llama.cpp's timings next to it in a stream; messages have none. A
reply with several choices has none either, as in vLLM: no single choice represents the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from mockserver.clock import NS_PER_MS
from mockserver.dialect.frames import UsageCounts
from mockserver.engine.work import Drafts, Work


def usage_details(usage: UsageCounts, details: Set[str]) -> dict[str, Any]:
    """The details inside the usage object."""
    if "cached_tokens" not in details or usage.work is None:
        return {}
    # vLLM reports 0 without a prefix cache.
    return {"prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0}}


def root_details(usage: UsageCounts, details: Set[str]) -> dict[str, Any]:
    """The details next to the usage object."""
    work = usage.work
    if work is None:
        return {}
    metrics: dict[str, Any] = _vllm_times(work, usage.output_tokens) if "metrics" in details else {}
    if "speculative_decoding" in details and work.drafts is not None:
        metrics["speculative_decoding"] = _vllm_drafts(work.drafts)
    extra = {"metrics": metrics} if metrics else {}
    return {**extra, "timings": _llama_timings(work, usage)} if "timings" in details else extra


def root_metrics(usage: UsageCounts | None, details: Set[str]) -> dict[str, Any]:
    """Only vLLM's times."""
    return {} if usage is None else root_details(usage, details & {"metrics"})


def root_timings(usage: UsageCounts | None, details: Set[str]) -> dict[str, Any]:
    """Only llama.cpp's timings."""
    return {} if usage is None else root_details(usage, details & {"timings"})


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_MS


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _vllm_times(work: Work, tokens: int) -> dict[str, Any]:
    """In vLLM, the time to the first token and the tokens per second are measured from the first step."""
    prefill_ms, decode_ms = _ms(work.prefill_ns), _ms(work.decode_ns)
    inference_ms = None if prefill_ms is None or decode_ms is None else prefill_ms + decode_ms
    return _known(
        {
            "time_to_first_token_ms": prefill_ms,
            "generation_time_ms": decode_ms,
            "queue_time_ms": _ms(work.queue_ns),
            "mean_itl_ms": None if decode_ms is None or tokens < 2 else decode_ms / (tokens - 1),
            "tokens_per_second": tokens / inference_ms * 1e3 if inference_ms else None,
        }
    )


def _vllm_drafts(drafts: Drafts) -> dict[str, Any]:
    steps, accepted = drafts.steps, drafts.accepted
    return {
        "mean_acceptance_length": 1 + accepted / steps if steps else 1.0,
        "draft_acceptance_rate": accepted / drafts.proposed if drafts.proposed else 0.0,
        "acceptance_histogram": drafts.histogram,
        "num_spec_steps": steps,
        "num_accepted_draft_tokens": accepted,
        "num_draft_tokens": drafts.proposed,
        "num_spec_tokens": len(drafts.histogram) - 1,
    }


def _llama_timings(work: Work, usage: UsageCounts) -> dict[str, Any]:
    """In llama.cpp's timings, the prompt is only its computed part, without cached tokens."""
    cached = usage.cached_tokens or 0
    row: dict[str, Any] = {"cache_n": cached}
    of_prompt = ("prompt", usage.input_tokens - cached, _ms(work.prefill_ns))
    of_reply = ("predicted", usage.output_tokens, _ms(work.decode_ns))
    for name, tokens, ms in (of_prompt, of_reply):
        row |= {
            f"{name}_n": tokens,
            f"{name}_ms": ms,
            f"{name}_per_token_ms": None if ms is None or not tokens else ms / tokens,
            f"{name}_per_second": None if not ms else 1e3 / ms * tokens,
        }
    if work.drafts is not None and work.drafts.proposed:
        row |= {"draft_n": work.drafts.proposed, "draft_n_accepted": work.drafts.accepted}
    return row
