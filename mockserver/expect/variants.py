"""Expected results that depend on more than the draws: on load, draft tokens, input length, or a recording."""

from __future__ import annotations

import math
from typing import Any

from mockserver.clock import NS_PER_MS
from mockserver.config import MockConfig
from mockserver.expect import sampled
from mockserver.expect.batching import USERS
from mockserver.expect.lengths import RequestLengths
from mockserver.expect.sums import points_of, product_sum, quantile_of_points
from mockserver.plans.latencies import latencies_of, speculation_of
from mockserver.plans.replay import RecordedReply
from mockserver.sampled_times import SampledTimes
from promptset.distributions import Distribution

_POINTS = 512


def expected(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    """The expectation for the `sampled` engine, and for `replay` with a profile."""
    if config.sampled_times is not None:
        return _factors(config.sampled_times, request)
    if config.load_slowdown > 0:
        return _slowed(config)
    if config.num_speculative_tokens > 0:
        return _speculated(config, request)
    numbers = sampled.expected(config, request)
    if config.ttft_per_input_token is not None:
        numbers = _by_input(numbers, config, config.ttft_per_input_token, request)
    if config.stream_interval > 1:
        together = f"ITL and chunk gaps: --stream-interval {config.stream_interval} sends that many tokens together"
        numbers["leaves_out"] = [*numbers["leaves_out"], together]
    return numbers


def _gap(config: MockConfig) -> Distribution:
    return config.tpot if config.itl is None else config.itl


def _slowed(config: MockConfig) -> dict[str, Any]:
    factor = config.load_slowdown
    ttft, tpot = config.ttft.mean() / NS_PER_MS, _gap(config).mean() / NS_PER_MS
    stretched = [(users, 1 + factor * (users - 1)) for users in USERS]
    return {
        "users": [
            {"users": users, "ttft_ms": {"mean": ttft * by}, "tpot_ms": {"mean": tpot * by}} for users, by in stretched
        ],
        "how": (
            f"each wait is the drawn one times 1 + {factor:g} (R - 1), R the requests under way as it begins: with N users "
            "that are always there R = N. Plans depend on the load, so that two runs agree only where their load does"
        ),
    }


def _factors(times: SampledTimes, request: RequestLengths) -> dict[str, Any]:
    inputs = 0 if request.input_tokens is None else request.input_tokens
    rows = []
    for users in USERS:
        of_first, of_gaps = times.factors(users)
        ttft = {name: times.ttft(share, inputs) * of_first / NS_PER_MS for name, share in sampled.SHARES.items()}
        gaps = {name: times.gap(share) * of_gaps / NS_PER_MS for name, share in sampled.SHARES.items()}
        rows.append({"users": users, "ttft_ms": ttft, "itl_ms": gaps})
    return {
        "input_tokens": inputs,
        "users": rows,
        "how": (
            "the quantiles of --sampled-times, for a prompt of so many input tokens (0 where none are asked for), times the "
            "factors of N users that are always there"
        ),
    }


def _speculated(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    speculation = speculation_of(config)
    assert speculation is not None
    tokens = round(config.output_tokens.mean()) if request.output_tokens is None else request.output_tokens
    steps = speculation.mean_steps(tokens)
    ttft, step = config.ttft.mean() / NS_PER_MS, _gap(config).mean() / NS_PER_MS
    return {
        "output_tokens": tokens,
        "steps": {"mean": steps},
        "ttft_ms": {"mean": ttft},
        "tpot_ms": {"mean": step * (steps - 1) / (tokens - 1) if tokens > 1 else None},
        "e2el_ms": {"mean": ttft + step * (steps - 1)},
        "how": (
            "replies of this length; tpot and itl are the time between steps, a step gives a geometric number of tokens cut "
            f"at {speculation.draft_tokens + 1} (mean {speculation.mean_tokens:.4g}), the steps of a reply are counted "
            "exactly by recursion over its length"
        ),
    }


def _by_input(
    numbers: dict[str, Any], config: MockConfig, each: Distribution, request: RequestLengths
) -> dict[str, Any]:
    """TTFT and E2EL including the time per input token, if the input length is known."""
    if request.input_tokens is None:
        note = "what --ttft-per-input-token adds to TTFT and E2EL: add input_tokens to the question"
        return {**numbers, "leaves_out": [*numbers["leaves_out"], note]}
    inputs = float(request.input_tokens)
    added_ms = inputs * each.mean() / NS_PER_MS
    how = f"; for each of {request.input_tokens} input tokens what was drawn for the request is added"
    ttft, e2el = numbers["ttft_ms"], numbers["e2el_ms"]
    atoms = each.atoms()
    if atoms is not None and len(atoms) == 1:
        moved = [
            {name: value if name == "how" else value + added_ms for name, value in facts.items()}
            for facts in (ttft, e2el)
        ]
    else:
        grid = product_sum(points_of(config.ttft, _POINTS), [(inputs, 1.0)], points_of(each, _POINTS))
        quantiles = {name: grid.quantile(share) / NS_PER_MS for name, share in sampled.SHARES.items()}
        moved = [
            {**ttft, "mean": ttft["mean"] + added_ms, **quantiles},
            {"mean": e2el["mean"] + added_ms, **dict.fromkeys(sampled.SHARES), "how": e2el["how"]},
        ]
        how += " (TTFT by numeric convolution, of E2EL the mean alone)"
    ttft, e2el = ({**facts, "how": facts["how"] + how} for facts in moved)
    return {**numbers, "ttft_ms": ttft, "e2el_ms": e2el}


def replayed(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    """The expectation for the `replay` engine: a profile is sampled from, a recording is summarized."""
    latencies = latencies_of(config)
    if latencies.recording is None:
        names = ("ttft", "tpot", "itl", "output_tokens", "ttft_per_input_token")
        return expected(config.model_copy(update={name: getattr(latencies, name) for name in names}), request)
    replies = latencies.recording.replies
    if config.load_slowdown > 0:
        return {"how": f"the recorded waits times 1 + {config.load_slowdown:g} (requests under way - 1)"}
    return {
        "replies": len(replies),
        "ttft_ms": _summary([reply.ttft_ns / NS_PER_MS for reply in replies]),
        "tpot_ms": _summary([tpot for reply in replies if (tpot := _tpot_ms(reply)) is not None]),
        "output_tokens": _summary([float(reply.output_tokens) for reply in replies]),
        "e2el_ms": _summary([(reply.ttft_ns + sum(reply.gaps_ns)) / NS_PER_MS for reply in replies]),
        "how": (
            "the recorded replies themselves, each at its own length and as often as any other; a request that asks for "
            "another length gets the gaps cut, or from the first on again"
        ),
    }


def _tpot_ms(reply: RecordedReply) -> float | None:
    later = reply.output_tokens - reply.chunk_tokens[0]
    return sum(reply.gaps_ns) / later / NS_PER_MS if later else None


def _summary(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, **dict.fromkeys(sampled.SHARES)}
    points = [(value, 1 / len(values)) for value in values]
    quantiles = {name: quantile_of_points(points, share) for name, share in sampled.SHARES.items()}
    return {"mean": math.fsum(values) / len(values), **quantiles}
