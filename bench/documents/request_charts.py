"""The charts of a run that show single requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.documents.charts import Chart, Line, Panel, round_step
from bench.documents.details import counts_tokens, has_tokens
from bench.documents.time_charts import TIME_AXIS, RunNumbers, span, time_ticks
from bench.metrics.chosen_requests import ShownRequest

_TIMELINE_SAMPLE = 100
_SLOWEST_POINTS = 100


def _shown(run: RunNumbers) -> list[ShownRequest]:
    """Some of the slowest requests and the sample, without duplicates."""
    assert run.page is not None
    requests = run.page.requests
    rows = {row.index: row for row in (*requests.slowest[:_SLOWEST_POINTS], *requests.sample)}
    return [rows[index] for index in sorted(rows)]


def _which(run: RunNumbers, shown: int) -> str:
    succeeded = run.summary.counts.succeeded
    return "All of them." if shown >= succeeded else f"{shown:,} of {succeeded:,}: the slowest, and an even sample."


class _Fields(NamedTuple):
    """Two fields of a request: y against x."""

    x: str
    y: str
    x_title: str
    unit: str
    name: str


def _against(
    run: RunNumbers, key: str, title: str, meaning: str, fields: _Fields, *, diagonal: bool = False
) -> Chart | None:
    """A chart with a point for each request. `diagonal` shows where both fields are equal."""
    x, y, x_title, unit, name = fields
    if run.page is None:
        return None
    points = [
        (float(across), row.index, up)
        for row in _shown(run)
        if (across := getattr(row, x)) is not None and (up := getattr(row, y)) is not None and row.outcome == "ok"
    ]
    points.sort()
    places = [across for across, _, _ in points]
    others = [Line(x_title, places, hidden=True, unit="")]
    if diagonal:
        others.append(Line("as asked", places, tone="quiet", dashed=True))
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.5 * high or 1.0
    first, last = max(low - room, 0.0), high + room
    every = round_step(last - first, 5)
    ticks = [k * every for k in range(int(first / every + 0.999999), int(last / every + 1e-9) + 1)]
    return Chart(
        key=key,
        title=title,
        meaning=f"{meaning} {_which(run, len(points))}",
        x_title=x_title,
        x=places,
        x_span=(first, last),
        x_names=[f"#{index}" for _, index, _ in points],
        ticks=tuple((at, f"{at:,.6g}") for at in ticks),
        step=0,
        panels=(Panel(unit, (Line(name, [up for _, _, up in points], "points"), *others)),),
        hover="points",
    )


def ttft_by_prompt(run: RunNumbers) -> Chart | None:
    """TTFT against the length of the prompt."""
    meaning = "Each point is a request: longer prompts take longer to read."
    fields = _Fields("input_tokens", "ttft_ms", "prompt tokens", "ms", "TTFT")
    return _against(run, "ttft_by_prompt", "TTFT against prompt tokens", meaning, fields)


def e2el_by_output(run: RunNumbers) -> Chart | None:
    """E2EL against the length of the response."""
    meaning = "Each point is a request: its slope is the time per token."
    fields = _Fields("output_tokens", "e2el_ms", "output tokens", "ms", "E2EL")
    return _against(run, "e2el_by_output", "E2EL against output tokens", meaning, fields)


def e2el_by_inputs(run: RunNumbers) -> Chart | None:
    """E2EL against the inputs of the request. Returns None if all requests have the same number."""
    inputs = run.summary.inputs
    if inputs is None or inputs.per_request.min == inputs.per_request.max:
        return None
    are = inputs.are
    meaning = "Each point is a request: its slope is the time that another input takes."
    fields = _Fields("inputs", "e2el_ms", f"{are} a request", "ms", "E2EL")
    return _against(run, "e2el_by_inputs", f"E2EL against {are} a request", meaning, fields)


def e2el_by_input_tokens(run: RunNumbers) -> Chart | None:
    """E2EL against the tokens of all inputs of the request. Returns None if no tokens are counted."""
    if not counts_tokens(run.summary):
        return None
    meaning = "Each point is a request: its slope is the time per input token."
    fields = _Fields("input_tokens", "e2el_ms", "input tokens", "ms", "E2EL")
    return _against(run, "e2el_by_input_tokens", "E2EL against input tokens", meaning, fields)


def tokens_asked(run: RunNumbers) -> Chart | None:
    """Output tokens received against requested."""
    meaning = "Each point is a request. If the server keeps to the requested length, points lie on the diagonal."
    fields = _Fields("output_tokens_asked", "output_tokens", "tokens asked for", "tokens received", "received")
    return _against(run, "tokens_asked", "Output tokens, requested against received", meaning, fields, diagonal=True)


def _sent_s(row: ShownRequest) -> float:
    assert row.sent_s is not None
    return row.sent_s


def _sizes(run: RunNumbers, rows: Sequence[ShownRequest]) -> tuple[Line, ...]:
    """The sizes of requests and their replies, in tokens or inputs; empty if no tokens are counted."""
    if not counts_tokens(run.summary):
        return ()
    tokens = has_tokens(run.summary)
    return (
        Line("prompt tokens" if tokens else "input tokens", [row.input_tokens for row in rows], hidden=True, unit=""),
        Line("output tokens", [row.output_tokens for row in rows], hidden=True, unit="")
        if tokens
        else Line("inputs", [row.inputs for row in rows], hidden=True, unit=""),
    )


def timeline(run: RunNumbers) -> Chart | None:
    """When requests waited to be sent, waited for the first token, and received their reply."""
    if run.page is None:
        return None
    requests = run.page.requests
    sample = requests.sample[:: max(1, -(-len(requests.sample) // _TIMELINE_SAMPLE))]
    by_index = {row.index: row for row in (*requests.slowest, *sample) if row.sent_s is not None}
    first, last = span(run)

    rows = sorted(by_index.values(), key=lambda row: (_sent_s(row), row.index))

    def bars(of: Callable[[ShownRequest], tuple[float, float] | None]) -> Sequence[tuple[float, float] | None]:
        return [of(row) for row in rows]

    def waiting(row: ShownRequest) -> tuple[float, float]:
        return _sent_s(row), row.end_s if row.first_s is None else row.first_s

    def streaming(row: ShownRequest) -> tuple[float, float] | None:
        return None if row.first_s is None else (row.first_s, row.end_s)

    places = list(range(len(rows)))
    all_shown = len(rows) >= run.summary.counts.sent
    which = "All requests." if all_shown else f"{len(rows):,} requests: the slowest, and an even sample."
    tokens = has_tokens(run.summary)
    queued_ms = [(_sent_s(row) - row.intended_s) * 1000 for row in rows]
    lines = (
        # The short spans last, so that they lie on top.
        *([Line("streaming", places, "spans", "main", spans=bars(streaming))] if tokens else ()),
        Line(
            "waiting for the first token" if tokens else "waiting for the reply",
            places,
            "spans",
            "second",
            spans=bars(waiting),
        ),
        Line("queued", places, "spans", "quiet", spans=bars(lambda row: (row.intended_s, _sent_s(row)))),
        Line("queued", queued_ms, hidden=True, unit="ms"),
        *([Line("TTFT", [row.ttft_ms for row in rows], hidden=True, unit="ms")] if tokens else ()),
        Line("E2EL", [row.e2el_ms for row in rows], hidden=True, unit="ms"),
        *_sizes(run, rows),
    )
    return Chart(
        key="timeline",
        title="Request timeline",
        meaning=f"A line for each request, by the time of sending. {which}",
        x_title=TIME_AXIS,
        x=list(map(_sent_s, rows)),
        x_span=(first, last),
        x_names=[f"#{row.index}" + ("" if row.outcome == "ok" else f", {row.outcome}") for row in rows],
        ticks=time_ticks(first, last),
        step=0,
        panels=(Panel("requests", lines, rows=len(rows)),),
        over_time=True,
        hover="rows",
        wide=True,
    )
