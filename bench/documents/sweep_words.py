"""Words for sweeps and repeats: sentences, the names of their numbers, and how these are written."""

from __future__ import annotations

from collections.abc import Mapping

from bench.documents.formatting import interval, number, share
from bench.results.sweep import LATENCIES, FittedKnee, RepeatsContent, SweepContent, SweepNumber
from bench.results.tokens import input_rate

OUTPUT, REQUESTS = "output_tokens_per_s", "requests_per_s"
INPUTS = "inputs_per_s"
_UNITS = {OUTPUT: "tokens/s", REQUESTS: "requests/s"}


def unit_of(name: str, are: str | None) -> str:
    """The unit of what was delivered. `are`: the inputs that requests consist of, if replies are not generated text."""
    return input_rate(are) if name == INPUTS else _UNITS[name]


def title_of(name: str, are: str | None) -> str:
    """The title of a number."""
    return input_rate(are, title=True) if name == INPUTS else TITLES[name]


def inputs_of(content: SweepContent | RepeatsContent) -> str | None:
    """The inputs that the requests consist of; None: unknown, or replies are generated text."""
    return next((run.inputs_are for run in content.runs if run.inputs_are is not None), None)


def delivered(numbers: Mapping[str, SweepNumber]) -> str:
    """The name of a load's throughput: output tokens, inputs, or requests if neither is counted."""
    if "inputs_per_s" in numbers:
        return "inputs_per_s"
    return REQUESTS if numbers[OUTPUT].value is None and numbers[REQUESTS].value is not None else OUTPUT


def delivered_by(content: SweepContent) -> str:
    """The same for a whole sweep."""
    measured = (point.numbers for point in content.points if point.numbers[REQUESTS].value is not None)
    return next(map(delivered, measured), OUTPUT)


def progress_line(status: str, numbers: Mapping[str, SweepNumber], are: str | None) -> str:
    """One line about a run that has just ended, short enough for a narrow terminal."""
    parts = [f"{number(numbers[delivered(numbers)].value)} {unit_of(delivered(numbers), are)}"]
    for name in ("ttft", "tpot") if delivered(numbers) == OUTPUT else ("e2el",):
        p50, p99 = (number(numbers[f"{name}:{stat}"].value) for stat in ("p50", "p99"))
        parts.append(f"{name.upper()} p50 {p50} p99 {p99}")
    return f"  {status}: {', '.join(parts)} ms"


FELL_BEHIND = (
    "requests in flight kept rising, so the server may not keep up, and latencies grow with the length of the run"
)


def sentences(content: SweepContent) -> list[str]:
    """The results of a sweep: how far it came, and its knee."""
    lines = []
    runs, planned = len(content.runs), len(content.loads) * content.repeats
    if content.ended is not None:
        lines.append(f"Not complete ({content.ended}): {runs} of {planned} runs.")
    knee = content.knee
    if knee is None:
        return [*lines, *([content.no_knee[0].upper() + content.no_knee[1:] + "."] if content.no_knee else [])]
    unit, half, at_most = (
        unit_of(delivered_by(content), inputs_of(content)),
        half_interval(content, knee),
        knee.ceiling_interval,
    )
    sure = "" if half is None else f" (95%: {half})"
    ceiling = "" if at_most is None else f" (95%: {interval(at_most)})"
    reached, ninety = load_within(content, knee.half_at), ninety_percent(content, knee)
    lines.append(
        f"Half of the greatest throughput is reached {_with(reached)} {content.unit}{sure}, 90% {_with(ninety)}; "
        f"the ceiling of the fitted curve is {number(knee.ceiling)} {unit}{ceiling}."
    )
    if ninety.startswith(BEYOND):
        lines.append(
            f"No load above {highest_load(content):,g} {content.unit} was measured: sweep further up to see it."
        )
    if knee.warning is not None:
        lines.append(knee.warning[0].upper() + knee.warning[1:] + ".")
    return lines


BEYOND, BELOW = "beyond", "below"


def highest_load(content: SweepContent) -> float:
    """The highest measured load: beyond it the curve is extrapolated."""
    return max((point.load for point in content.points if point.usable), default=0.0)


def load_within(content: SweepContent, load: float | None) -> str:
    """A load on the fitted curve. Beyond the highest measured load no number is given. Nor is 0, which means that even
    the lowest load reached the ceiling."""
    highest = highest_load(content)
    if load == 0:
        return f"{BELOW} {min((point.load for point in content.points if point.usable), default=0.0):,g}"
    return f"{BEYOND} {highest:,g}" if load is None or load > highest else number(load)


def _with(load: str) -> str:
    return load if load.startswith((BEYOND, BELOW)) else f"with {load}"


def ninety_percent(content: SweepContent, knee: FittedKnee) -> str:
    """The load that reaches 90% of the ceiling of the knee."""
    return load_within(content, 9 * knee.half_at)


def half_interval(content: SweepContent, knee: FittedKnee) -> str | None:
    """The 95% interval of the load that reaches half of the ceiling. Returns None if there is none."""
    ends = knee.half_at_interval
    if ends is None or None in ends:
        return None
    low, high = (load_within(content, end) for end in ends)
    return low if low.startswith(BEYOND) else f"{low} to {high}" if high.startswith(BEYOND) else interval(ends)


def written(value: float | None, name: str) -> str:
    """A number of a point, as text: shares in percent."""
    return share(value) if name in ("goodput", "error_rate") else number(value)


def has_goodput(content: SweepContent) -> bool:
    """Whether there were objectives to judge requests by."""
    return any(point.numbers["goodput"].value is not None for point in content.points)


def has_jobs(content: SweepContent) -> bool:
    """Whether every load had jobs of sessions."""
    points = content.points
    return bool(points) and all("jobs_per_hour" in point.numbers for point in points)


TITLES = {
    "output_tokens_per_s": "Output tokens/s",
    "inputs_per_s": "Inputs/s",
    "requests_per_s": "Requests/s",
    **{name: f"{name.partition(':')[0].upper()} {name.partition(':')[2]} (ms)" for name in LATENCIES},
    "job:p50": "Job p50 (s)",
    "job:p90": "Job p90 (s)",
    "jobs_per_hour": "Jobs/hour",
    "goodput": "Goodput",
    "error_rate": "Failed",
}
