"""What a calibration found, for a terminal: each number as measured, as it truly was, and the error between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.report.text import NARROW, render_plain

NAMES = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "e2el_ms": "E2EL",
    "chunk_gap_ms": "chunk gap",
    "ttft_from_intended_ms": "TTFT from due",
    "e2el_from_intended_ms": "E2EL from due",
}


def render(calibration: Mapping[str, Any], width: int = NARROW) -> str:
    """The certificate as plain text."""
    return render_plain(page(calibration), width)


def show(calibration: Mapping[str, Any]) -> None:
    """Print the certificate to standard output: in colour on a terminal."""
    console = Console()
    if console.is_terminal:
        console.print(page(calibration))
    else:
        console.file.write(render(calibration))


def page(calibration: Mapping[str, Any]) -> Group:
    """The certificate: what disagrees, the table of errors, and the accuracy of the stamps."""
    return Group(
        Text("\nagainst the mock's ledger (ms)", "bold"),
        *_problems(calibration),
        _errors(calibration),
        _stamps(calibration),
    )


def _problems(calibration: Mapping[str, Any]) -> list[RenderableType]:
    counts = calibration["counts"]
    agreed = (
        f"{counts['requests']:,} requests, {counts['chunks']:,} chunks, {counts['tokens']:,} tokens, "
        f"{counts['bytes_in'] + counts['bytes_out']:,} bytes"
    )
    if not calibration["problems"]:
        return [Text(f"{agreed}: all counts agree")]
    return [Text(f"compared: {agreed}"), *[Text(f"  - {problem}", "bold red") for problem in calibration["problems"]]]


def _errors(calibration: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("measured", "true", "error", "of the value"):
        table.add_column(name, justify="right")
    for row in calibration["metrics"]:
        table.add_row(
            f"{NAMES[row['metric']]} {row['stat']}",
            f"{row['measured_ms']:,.3f}",
            f"{row['true_ms']:,.3f}",
            f"{row['error_ms']:+.3f}",
            f"{row['error_share']:+.2%}",
        )
    return table


def _stamps(calibration: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("n", "p50", "p99", "max"):
        table.add_column(name, justify="right")
    for name, key in (
        ("client's stamp - mock's write", "observation_lag_ms"),
        ("mock's receipt - client's send", "way_in_ms"),
        ("mock's write - its plan", "mock_done_minus_planned_ms"),
    ):
        row = calibration[key]
        if row["n"]:
            table.add_row(name, f"{row['n']:,}", *[f"{row[stat]:.4f}" for stat in ("p50", "p99", "max")])
    return table
