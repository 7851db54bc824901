"""A certificate for a terminal: the true value of each number, and the error of the measured one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.documents.calibration_words import NAMES, STATS, THROUGHPUT, cause_sentence
from bench.documents.formatting import NOTHING, number, signed, signed_share
from bench.report.text import NARROW, WIDE, first_that_fits, render_plain

_STAMPS = (
    ("client's stamp - mock's write", ("observation_lag_ms",)),
    ("mock's receipt - client's send", ("way_in_ms",)),
    ("mock's write - its plan", ("mock", "done_minus_planned_ms")),
)
_WORTH, _WORTH_SHARE = 0.0005, 0.0025
"""Show the interval that stamps allow only where it is wider than both; the first is in the unit of the metric. A histogram
of token times alone makes an interval of 0.2%."""


def render(calibration: Mapping[str, Any], width: int = 100) -> str:
    """The certificate as plain text, at most `width` columns wide."""
    columns = min(max(width, NARROW), WIDE)
    return render_plain(page(calibration, columns), columns)


def show(calibration: Mapping[str, Any]) -> None:
    """Print the certificate to standard output: in colour on a terminal."""
    console = Console()
    if console.is_terminal:
        console.width = min(max(console.width, NARROW), WIDE)
        console.print(page(calibration, console.width))
    else:
        console.file.write(render(calibration))


def page(calibration: Mapping[str, Any], columns: int) -> RenderableType:
    """The certificate: what disagrees and why, the tables of errors, and the accuracy of the stamps and of the mock."""
    parts: list[RenderableType] = [
        Text("\nagainst the mock's ledger", "bold"),
        *_agreement(calibration),
        *_other_clock(calibration),
        Padding(_errors(calibration["metrics"], columns), (1, 0)),
        _throughput(calibration["throughput"]),
        Padding(_stamps(calibration), (1, 0, 0, 0)),
    ]
    if calibration["mock"]["closed_form"]:
        parts.append(Padding(_closed_form(calibration["mock"]["closed_form"]), (1, 0, 0, 0)))
    return Group(*parts)


def agreed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sums of both sides in words, by the ledger."""
    return ", ".join(
        f"{row['there']:,} {row['what']}" for row in rows if not row["what"].startswith(("outcome", "status"))
    )


def _agreement(calibration: Mapping[str, Any]) -> list[RenderableType]:
    rows = calibration["agreement"]
    kinds = ", ".join(row["what"] for row in rows if row["what"].startswith(("outcome", "status")))
    blocked = calibration["counts"]["blocked"]
    parts: list[RenderableType] = []
    if not calibration["problems"]:
        parts.append(Text(f"{agreed(rows)}: all agree ({kinds})"))
    else:
        parts.append(Text(f"compared: {agreed(rows)} ({kinds})"))
        parts += [Text(f"  - {problem}", "bold red") for problem in calibration["problems"]]
    parts += [Text(f"  - {cause_sentence(cause)}", "bold yellow") for cause in calibration["causes"]]
    if blocked:
        parts.append(
            Text(f"{blocked:,} chunks waited in the mock because the client read too slowly; the lag leaves them out")
        )
    return parts


def _other_clock(calibration: Mapping[str, Any]) -> list[RenderableType]:
    if calibration["clock"] == "shared":
        return []
    network = calibration["network_ms"]
    return [Text(OTHER_CLOCK + (f" The network takes at least {network:.3f} ms." if network is not None else ""))]


OTHER_CLOCK = (
    "The mock runs on another machine, so clocks are not compared. TTFT and E2EL are compared with the mock's time from the "
    "arrival of a request to its writes: their errors include the network, both ways. The lags of the stamps are not known. "
    "TPOT, ITL and chunk gaps are compared as they are."
)


def _errors(rows: Sequence[Mapping[str, Any]], columns: int) -> Table:
    """As many quantiles as fit without breaking a number: p75 and p99.9 are the first to go. The page has them all."""
    return first_that_fits((_errors_of(rows, left_out) for left_out in ((), ("p75",), ("p75", "p999"))), columns)


def _errors_of(rows: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> Table:
    """For each metric: the true value, the error, its share, and what the stamps allow where they are bounds."""
    stats = [stat for stat in STATS if stat not in left_out and any(row["stat"] == stat for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("", no_wrap=True)
    for stat in stats:
        table.add_column(STATS[stat], justify="right", overflow="fold")
    shown: dict[str, dict[str, Mapping[str, Any]]] = {}
    for metric in dict.fromkeys(row["metric"] for row in rows):
        of = {row["stat"]: row for row in rows if row["metric"] == metric}
        shown[metric] = of
        if metric in _SAME_AS and _same(of, shown.get(_SAME_AS[metric])):
            continue
        table.add_row(NAMES[metric], *(number(of[s]["true"]) if s in of else NOTHING for s in stats))
        table.add_row("  error", *(signed(of[s]["error"]) if s in of else "" for s in stats))
        table.add_row(
            "  of the value", *(signed_share(of[s]["error_share"]) if s in of else "" for s in stats), style="dim"
        )
        if any(wide(row) for row in of.values()):
            for name, end in (("  stamps allow from", 0), ("  to", 1)):
                cells = (number(of[s]["allowed"][end]) if s in of and of[s]["allowed"] else "" for s in stats)
                table.add_row(name, *cells, style="dim")
    return table


_SAME_AS = {
    "ttft_from_intended_ms": "ttft_ms",
    "e2el_from_intended_ms": "e2el_ms",
    "ttfo_ms": "ttft_ms",
    "chunk_gap_ms": "itl_ms",
}
"""Without waits, without reasoning and with one token per chunk, these are the same numbers: the table has them once."""


def _same(of: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]] | None) -> bool:
    return other is not None and all(
        stat in other and all(row[key] == other[stat][key] for key in ("measured", "true")) for stat, row in of.items()
    )


def wide(row: Mapping[str, Any]) -> bool:
    """Whether the interval that the stamps allow is worth showing."""
    allowed = row["allowed"]
    if allowed is None:
        return False
    return allowed[1] is None or bool(allowed[1] - allowed[0] > max(_WORTH, _WORTH_SHARE * abs(row["true"])))


def _throughput(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("per second", "measured", "true", "error"):
        table.add_column(name, justify="left" if name == "per second" else "right")
    for row in rows:
        cells = (number(row["measured"]), number(row["true"]), signed_share(row["error_share"]))
        table.add_row(THROUGHPUT[row["metric"]], *cells)
    return table


def _stamps(calibration: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("ms")
    for name in ("n", "p50", "p99", "max"):
        table.add_column(name, justify="right")
    for name, path in _STAMPS:
        row: Mapping[str, Any] = calibration
        for key in path:
            row = row[key]
        if row["n"]:
            table.add_row(name, f"{row['n']:,}", *[f"{row[stat]:.4f}" for stat in ("p50", "p99", "max")])
    return table


def _closed_form(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("the mock against its closed form")
    for name in ("expected", "done", "difference", "by chance"):
        table.add_column(name, justify="right")
    for row in rows:
        if row["noise"] is None:  # Chance is not known for quantiles: only the page shows them.
            continue
        name = NAMES.get(row["metric"], "output tokens").partition(" (")[0]
        chance = f"±{number(row['noise'])}"
        cells = (number(row["expected"]), number(row["done"]), signed(row["difference"]), chance)
        table.add_row(f"{name} {STATS[row['stat']]} ({row['unit']})", *cells)
    return table
