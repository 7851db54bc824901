"""The limits of a machine as text for a terminal: the ceilings, what limited them, and how late sends became."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.limits.ladder import LADDERS, Climb
from bench.limits.result import MachineLimits
from bench.report.formatting import NOTHING, number
from bench.report.text import render_plain

WIDTH = 100


def render(result: MachineLimits) -> str:
    """The limits as text of at most 100 columns."""
    host = result.host
    parts: list[RenderableType] = [
        Text(f"{host['name']}: {host['cpu']}, {host['processors']} processors; one worker, on {result.date[:10]}"),
        Padding(_ceilings(result.climbs), (1, 0)),
        _lateness(result.climbs["requests"]),
        Padding(Text(_sentence(result)), (1, 0, 0, 0)),
    ]
    return render_plain(Group(*parts), WIDTH)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for at, title in enumerate(titles):
        table.add_column(title, justify="left" if at == 0 else "right", no_wrap=True)
    return table


def _ceilings(ladders: Mapping[str, Mapping[str, Climb]]) -> Table:
    table = _table("", "held", "client CPU", "server CPU")
    table.add_column("limited by", overflow="fold")
    for name, servers in ladders.items():
        table.add_row(Text(LADDERS[name].title))
        for server, climb in servers.items():
            best = max((step for step in climb.steps if step.cause is None), key=lambda step: step.load, default=None)
            best_load = "nothing" if best is None else number(round(best.load))
            cpu = (NOTHING, NOTHING) if best is None else (_percent(best.client_cpu), _percent(best.server_cpu))
            table.add_row(f"  against {server}", best_load, *cpu, Text(climb.ended))
    return table


def _lateness(servers: Mapping[str, Climb]) -> Table:
    table = _table("send lateness, open loop (ms)", "requests/s", "p50", "p99")
    for server, climb in servers.items():
        for step in climb.steps:
            if step.lateness_ms is not None:
                p50, p99 = step.lateness_ms
                table.add_row(f"  against {server}", f"{step.asked:,}", f"{p50:.3f}", f"{p99:.3f}")
    return table


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:.0f}%"


def _sentence(result: MachineLimits) -> str:
    """The conclusion: up to which loads to trust results, and whether this measurement was disturbed."""
    ceiling = result.ceiling
    units = (("chunks_per_s", "chunks/s"), ("requests_per_s", "requests/s"), ("streams", "streams"))
    known = [f"{number(round(load))} {unit}" for key, unit in units if (load := ceiling[key]) is not None]
    if not known:
        return "Not even the first steps held: this machine is too busy, or too small, to measure with."
    sentence = f"Trust one worker of this machine up to {', '.join(known)}. No higher load was seen to hold."
    if result.disturbed:
        sentence += " Other programs kept the machine busy during the measurement: an idle machine may do better."
    return sentence
