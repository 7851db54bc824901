"""The profile of a server: a JSON document that the mock serves, with everything that shows how far to trust it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct, structs

from bench.fit.batching import BatchingFit
from bench.fit.coefficients import NOTABLE_RESIDUAL, Coefficient, StepDraw, worst_bin
from bench.fit.front_end import tell_a1
from bench.fit.prompt_cost import alike
from bench.fit.read import FittedRun
from bench.fit.sampled import SampledFit
from bench.fit.variation import Variation
from bench.results.profile import (
    DRIFT,
    REFUSED,
    SCHEMA,
    DrawnCost,
    FittedCoefficient,
    FittedFrontEnd,
    FittedLimit,
    FittedSteps,
    Profile,
    ProfileSettings,
    Provenance,
    RunOfProfile,
    SampledTimes,
    SeenTimes,
    StepCost,
    StepVariation,
    Unknown,
)

NOTABLE_ERROR = 0.015
"""The fit warns if the relative error of a step's mean is larger."""
USAGE_ON_CHUNKS = '{"stream_options": {"include_usage": true, "continuous_usage_stats": true}}'

T = TypeVar("T", bound=Struct)

_MOCKS = {"max_num_seqs": 256, "max_num_batched_tokens": 2_048, "kv_blocks": 65_536}
"""The mock's defaults for limits that a profile lacks."""

_FEW, _LEAST_FAILED = 0.01, 3
"""A run with more failures than this share, and at least this many, shows a server that refuses requests."""

UNITS = {
    "b0": "us a step", "b1": "us a prefill token", "b2": "us a decode token", "b3": "us a context token",
    "b4": "us a prompt",
    "a0": "us a request", "a1": "us a prompt token", "w0": "us of an idle server",
}  # fmt: skip


def coefficients_of(fit: BatchingFit) -> dict[str, Coefficient]:
    """The coefficients that the fit estimated, in order."""
    front = fit.front_end
    return {**fit.steps.coefficients, "a0": front.a0, "a1": front.a1, "w0": front.w0}


def batching_profile(
    fit: BatchingFit, runs: Sequence[FittedRun], *, date: str, trueload: str | None, server: str | None
) -> Profile:
    """The profile of a fit. `server`: the user's name for it, or else the kind that its metrics show."""
    return Profile(
        schema=SCHEMA,
        engine="batching",
        model=runs[0].model,
        step_cost=_step_cost(fit),
        settings=_settings(fit),
        coefficients={name: _coefficient(name, row) for name, row in coefficients_of(fit).items()},
        decode=[_all_short(row) for row in fit.steps.table],
        limits=fit.limits,
        fit=FittedSteps(
            rows=fit.steps.rows,
            steps=fit.steps.steps,
            scale_us=_short(fit.steps.scale_us),
            left_out=_short(fit.steps.left_out),
            chunks=fit.chunks,
            residuals=[_all_short(row) for row in fit.steps.residuals],
            front_end=FittedFrontEnd(how=fit.front_end.how, requests=fit.front_end.requests),
            mean_error=None if fit.variation is None else _short(fit.variation.mean_error),
            draws=[_drawn(draw) for draw in fit.steps.draws] or None,
        ),
        warnings=warnings_of(fit, runs),
        unknown=unknown_of(fit, runs),
        provenance=_provenance(runs, date=date, trueload=trueload, server=server),
    )


def _step_cost(fit: BatchingFit) -> StepCost:
    table, limits = [(entry.tokens, _short(entry.us)) for entry in fit.steps.table], fit.limits
    return StepCost(
        **{name: _short(entry.value) for name, entry in coefficients_of(fit).items()},
        decode=table or None,
        max_num_seqs=_served("max_num_seqs", limits.max_num_seqs),
        max_num_batched_tokens=_served("max_num_batched_tokens", limits.max_num_batched_tokens),
        kv_blocks=_served("kv_blocks", limits.kv_blocks),
        variation=_variation(fit.variation),
    )


def _served(name: str, limit: FittedLimit) -> int | None:
    """A limit for the mock: not below what the server was seen to do. None: the mock's default."""
    return limit.at_least if limit.value is None and limit.at_least > _MOCKS[name] else limit.value


def _drawn(draw: StepDraw) -> DrawnCost:
    b0, b1, b2, b3, b4 = map(_short, draw.values)
    table = [(tokens, _short(us)) for tokens, us in draw.table]
    return DrawnCost(b0=b0, b1=b1, b2=b2, b3=b3, b4=b4 or None, decode=table or None)


def _variation(of: Variation | None) -> StepVariation | None:
    if of is None:
        return None
    return StepVariation(power=_short(of.power), at_us=_short(of.at_us), block=_short(of.block), levels=of.levels)


def _settings(fit: BatchingFit) -> ProfileSettings:
    if fit.chunks == "drafts":
        return ProfileSettings(num_speculative_tokens=fit.drafts, acceptance_rate=_short(fit.acceptance or 0.0))
    return ProfileSettings(stream_interval=fit.stream_interval if fit.chunks == "interval" else None)


def sampled_profile(
    fit: SampledFit, runs: Sequence[FittedRun], *, date: str, trueload: str | None, server: str | None
) -> Profile:
    """The profile of a server whose steps cannot be seen."""
    return Profile(
        schema=SCHEMA,
        engine="sampled",
        model=runs[0].model,
        sampled_times=SampledTimes(
            ttft_ms=fit.ttft_ms,
            ttft_per_input_token_us=_short(fit.ttft_per_input_token_us),
            gap_ms=fit.gap_ms,
            between=_short(fit.between),
            follows=_short(fit.follows),
            load=[(_short(point.under_way), _short(point.ttft), _short(point.gap)) for point in fit.load],
        ),
        settings=ProfileSettings(),
        seen=SeenTimes(requests=fit.requests, gaps=fit.gaps, requests_by_load=[point.requests for point in fit.load]),
        warnings=_doubts_of(runs),
        unknown=_unknown_of_sampled(fit, runs),
        provenance=_provenance(runs, date=date, trueload=trueload, server=server),
    )


def _unknown_of_sampled(fit: SampledFit, runs: Sequence[FittedRun]) -> list[Unknown]:
    rows = []
    if len(fit.load) < 2:
        why = "the loads have too similar a number of requests under way: the mock does not slow down with its load"
        users = max(8, 4 * max(run.most_users for run in runs))
        rows.append(Unknown(what="load", why=why, command=command_of(runs[0], concurrency=users)))
    if fit.ttft_per_input_token_us == 0:
        why = "prompts are of too similar a length, or TTFT does not grow with them"
        command = command_of(runs[0], concurrency=1, input_tokens="uniform:64..4096", output_tokens="16")
        rows.append(Unknown(what="ttft_per_input_token_us", why=why, command=command))
    return rows + _refused(runs)


def _provenance(runs: Sequence[FittedRun], *, date: str, trueload: str | None, server: str | None) -> Provenance:
    return Provenance(
        server=server if server is not None else next((run.server for run in runs if run.server), None),
        trueload=trueload,
        date=date,
        runs=[
            RunOfProfile(
                run_id=run.run_id,
                name=run.name,
                started=run.started,
                endpoint=run.endpoint,
                requests=len(run.streams),
                most_in_flight=run.most_users,
                longest_prompt=max((stream.prompt_tokens for stream in run.streams), default=None),
                longest_context=max((stream.prompt_tokens + stream.generated for stream in run.streams), default=None),
                load=run.load,
                trueload=run.version,
            )
            for run in runs
        ],
    )


def _doubts_of(runs: Sequence[FittedRun]) -> list[str]:
    """Reasons to doubt that the runs are good measurements of one server with known token counts."""
    doubts = [
        f"{run.name} is {run.unusable}: what was fitted rests on it too" for run in runs if run.unusable is not None
    ]
    for name in dict.fromkeys(name for run in runs for name in run.stated):
        stated = {run.name: run.stated[name] for run in runs if name in run.stated}
        if max(stated.values()) > 1.1 * min(stated.values()):  # The KV cache takes the memory that is free.
            listing = ", ".join(f"{value:,} ({run})" for run, value in stated.items())
            doubts.append(
                f"the servers of these runs state another {name} each: {listing}; a fit takes them for one server"
            )
    return doubts + _unsure_of(runs)


def _unsure_of(runs: Sequence[FittedRun]) -> list[str]:
    unsure = sum(not stream.sure for run in runs for stream in run.streams)
    total = sum(len(run.streams) for run in runs)
    if unsure <= 0.05 * total:
        return []
    sentence = f"{unsure} of {total} requests failed or came without known tokens: what they show was left out"
    if any(run.server == "vLLM" for run in runs):
        # vLLM sends no chunk for a token without text; with usage on each chunk, every token is counted.
        sentence += f"; make runs with --extra-body '{USAGE_ON_CHUNKS}', which counts the tokens of each chunk"
    return [sentence]


def _cache_not_told(runs: Sequence[FittedRun]) -> list[str]:
    """Turns of a conversation repeat earlier text: a server with a cache computes less than their prompts."""
    repeated = [run for run in runs if run.load.get("mode") == "sessions"]
    if not repeated or any(stream.cached_tokens for run in repeated for stream in run.streams):
        return []
    return [
        "the runs send conversations, and the server does not say how much of their prompts its prefix cache had: if it has "
        "one, a prompt token that is new to it costs more than b1 says; let it say cached_tokens, or record fresh prompts"
    ]


def _coefficient(name: str, coefficient: Coefficient) -> FittedCoefficient:
    low, high = (_short(value) if math.isfinite(value) else None for value in (coefficient.low, coefficient.high))
    return FittedCoefficient(
        value=_short(coefficient.value), low=low, high=high, told=coefficient.told, unit=UNITS[name]
    )


def _short(value: float) -> float:
    """Six digits, which is all the data support."""
    return float(f"{value:.6g}")


def _all_short(numbers: T) -> T:
    short = {name: _short(value) for name, value in structs.asdict(numbers).items() if isinstance(value, float)}
    return structs.replace(numbers, **short)


def warnings_of(fit: BatchingFit, runs: Sequence[FittedRun]) -> list[str]:
    """A sentence for each way in which the model does not describe the server."""
    warnings = []
    worst = worst_bin(fit.steps.residuals)
    if worst is not None and abs(worst.p50) > NOTABLE_RESIDUAL:
        warnings.append(
            f"steps with {worst.least_decodes} to {worst.most_decodes} decodes are {worst.p50:+.0%} off what is fitted: "
            "neither a line nor a rising table describes the cost of this server's batches, and the mock will be off there"
        )
    if fit.steps.left_out > 0.1:
        effect = "the mock takes as many such steps" if fit.variation is not None else "the mock has no such steps"
        warnings.append(
            f"{fit.steps.left_out:.0%} of the steps lie far off the fitted cost, and {effect}: the server pauses, the client "
            "was busy, or steps were taken together (--step-gap)"
        )
    if fit.variation is not None and fit.variation.mean_error > NOTABLE_ERROR:
        warnings.append(
            f"steps stay slow or fast for long, so their mean is known to {fit.variation.mean_error:.1%} only, and latencies "
            "near capacity far less: record each load for longer"
        )
    if fit.variation is None:
        warnings.append("too few single steps were seen to say how they vary: the mock's steps are even")
    warnings += _doubts_of(runs) + _cache_not_told(runs)
    if fit.several_steps:
        warnings.append(
            f"TTFT of an idle server grows by {fit.front_end.a1.value:.3g} us with each prompt token, and a prefill token "
            f"costs {fit.steps.values[1]:.3g} us in a step: prompts may take several steps, and a1 may be their cost; if "
            "you know it, give --max-num-batched-tokens"
        )
    if fit.chunks == "interval":
        warnings.append(
            "chunks hold the tokens of several steps: limits cannot be seen, and coefficients rest on sums over several steps"
        )
    return warnings


def unknown_of(fit: BatchingFit, runs: Sequence[FittedRun]) -> list[Unknown]:
    """What these loads cannot determine: what, why, and the run that would."""
    most = max(run.most_users for run in runs)
    longest = max((stream.prompt_tokens for run in runs for stream in run.streams), default=512)
    coefficients = coefficients_of(fit)

    def row(subject: str, why: str, **load: object) -> Unknown:
        return Unknown(what=subject, why=why, command=command_of(runs[0], **load))

    rows = []
    if not (coefficients["b0"].told and coefficients["b2"].told):
        why = "the loads have batches of too similar a size to tell a step from its decodes"
        few = min(run.most_users for run in runs)
        users = 4 * most if few <= max(1, most // 4) else max(1, most // 8)
        rows.append(
            row("b0, b2", why, concurrency=users, input_tokens="uniform:32..256", output_tokens="uniform:32..128")
        )
    if not coefficients["b1"].told:
        why = "too few prompts, or too short ones, were computed beside streams that were under way"
        if fit.several_steps:
            why += ", or prompts take several steps of a token budget that is not known"
        rows.append(
            row("b1", why, concurrency=max(4, most), input_tokens="uniform:64..2048", output_tokens="uniform:16..64")
        )
    elif alike(np.array([stream.fresh_tokens for run in runs for stream in run.streams if stream.sure], np.float64)):
        why = "prompts are too alike in length to tell what each costs besides its tokens: b1 holds for such prompts"
        rows.append(
            row("b4", why, concurrency=max(4, most), input_tokens="uniform:64..2048", output_tokens="uniform:16..64")
        )
    if not coefficients["b3"].told:
        why = "contexts are too alike, or too short, to tell their cost"
        rows.append(
            row("b3", why, concurrency=max(4, most), input_tokens="uniform:64..8192", output_tokens="uniform:128..256")
        )
    if fit.front_end.how == "both" and not coefficients["w0"].told:
        why = (
            "an idle server waits longer than a busy one, but too few requests came in the middle of a step to tell how much "
            "of it is a0 and how much w0"
        )
        rows.append(row("a0, w0", why, rate=_half_rate(runs), input_tokens="uniform:16..512", output_tokens="64"))
    elif not coefficients["a0"].told:
        idle = fit.front_end.how == "idle"
        why = f"too few requests{' of different lengths' * idle} came to an idle server"
        sent = row("a0", why, concurrency=1, input_tokens="uniform:16..512", output_tokens="8")
        prompts = np.array([stream.prompt_tokens for run in runs for stream in run.streams], np.float64)
        if idle and not coefficients["b0"].told and tell_a1(prompts):
            sent = structs.replace(
                rows[0], what="a0", why="an idle server's TTFT has a step in it, and b0 is not known"
            )
        rows.append(sent)
    elif not coefficients["a1"].told and coefficients["b1"].told and not fit.several_steps:
        why = "too few prompts of different lengths came to an idle server"
        rows.append(row("a1", why, concurrency=1, input_tokens="uniform:16..4096", output_tokens="8"))
    return rows + _unknown_limits(fit, row, most, longest) + _drifts(fit, runs) + _refused(runs)


def _drifts(fit: BatchingFit, runs: Sequence[FittedRun]) -> list[Unknown]:
    rows = []
    for run, change in zip(runs, fit.drifts, strict=False):
        if change:
            why = (
                f"steps of {run.name} got {abs(change):.0%} {'slower' if change > 0 else 'faster'} from its first half to "
                "its second (a server that warms up, a machine that gets hot), and the fit takes their mean"
            )
            load = {name: run.load[name] for name in ("concurrency", "rate") if name in run.load}
            rows.append(Unknown(what=DRIFT, why=why, command=command_of(run, **load)))
    return rows


def _refused(runs: Sequence[FittedRun]) -> list[Unknown]:
    rows = []
    for run in runs:
        if run.failed >= _LEAST_FAILED and run.failed > _FEW * len(run.streams):
            why = f"{run.failed} of {len(run.streams)} requests of {run.name} failed, and the mock answers all"
            command = shlex.join(["python", "-m", "bench", "search", "--url", run.url, "--slo", "error_rate<1%"])
            rows.append(Unknown(what=REFUSED, why=why, command=command))
    return rows


def _half_rate(runs: Sequence[FittedRun]) -> float:
    """Roughly half of the busiest load's requests a second: some requests then meet a busy server and some an idle one."""
    most = 0.0
    for run in runs:
        first, last = (pick(stream.sent_us for stream in run.streams) for pick in (min, max))
        most = max(most, (len(run.streams) - 1) / (last - first) if last > first else 0.0)
    return max(0.1, float(f"{most * 1e6 / 2:.2g}"))


def _unknown_limits(fit: BatchingFit, row: Callable[..., Unknown], most: int, longest: int) -> list[Unknown]:
    rows = []
    limits = fit.limits
    takes = {name: max(usual, getattr(limits, name).at_least) for name, usual in _MOCKS.items()}
    if limits.max_num_seqs.value is None:
        bound = f"it is at least {limits.max_num_seqs.at_least}"
        why = f"no request waited: {bound}; the mock takes {takes['max_num_seqs']}"
        rows.append(
            row("max_num_seqs", why, concurrency=max(8, 4 * most), input_tokens="32", output_tokens="uniform:64..128")
        )
    if limits.max_num_batched_tokens.value is None:
        least = limits.max_num_batched_tokens.at_least
        # Decodes alone do not show how much of a prompt fits a step.
        bound = f"it is at least {least}" if least > most else "how many tokens a step computes is not shown"
        why = f"no prompt was seen to take several steps: {bound}; the mock takes {takes['max_num_batched_tokens']}"
        tokens = max(4096, 2 * longest)
        rows.append(row("max_num_batched_tokens", why, concurrency=4, input_tokens=str(tokens), output_tokens="64"))
    if limits.kv_blocks.value is None:
        bound = f"it is at least {limits.kv_blocks.at_least}"
        why = f"neither waiting nor the server's metrics show it: {bound}; the mock takes {takes['kv_blocks']}"
        rows.append(row("kv_blocks", why, concurrency=max(8, 2 * most), input_tokens="4096", output_tokens="512"))
    return rows


def command_of(run: FittedRun, **load: object) -> str:
    """A one-minute `bench run` command against the server of a run."""
    words = ["python", "-m", "bench", "run", "--url", run.url]
    if run.endpoint not in ("chat", "auto"):
        words += ["--endpoint", run.endpoint]
    for name, value in load.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--duration", "60"])
