"""What was found, as text for a terminal: the ceilings, what gave way first, and how late sends became."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.limits.ladder import LADDERS
from bench.report.formatting import NOTHING, number
from bench.report.text import render_plain

WIDTH = 100


def render(result: Mapping[str, Any]) -> str:
    """The result of `measure.measure` as text of at most 100 columns."""
    host = result["host"]
    parts: list[RenderableType] = [
        Text(f"{host['name']}: {host['cpu']}, {host['processors']} processors; one worker, on {result['date'][:10]}"),
        Padding(_ceilings(result["ladders"]), (1, 0)),
        _lateness(result["ladders"]["requests"]),
        Padding(Text(_sentence(result)), (1, 0, 0, 0)),
    ]
    return render_plain(Group(*parts), WIDTH)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for at, title in enumerate(titles):
        table.add_column(title, justify="left" if at == 0 else "right", no_wrap=True)
    return table


def _ceilings(ladders: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("", "held", "client CPU", "server CPU")
    table.add_column("what gave way first", overflow="fold")
    for name, servers in ladders.items():
        table.add_row(Text(LADDERS[name].title))
        for server, climbed in servers.items():
            best = max((s for s in climbed["steps"] if s["cause"] is None), key=lambda s: s["load"], default=None)
            held = "nothing" if best is None else number(round(best["load"]))
            cpu = (NOTHING, NOTHING) if best is None else (_percent(best[k]) for k in ("client_cpu", "server_cpu"))
            table.add_row(f"  against {server}", held, *cpu, Text(climbed["ended"]))
    return table


def _lateness(servers: Mapping[str, Any]) -> Table:
    table = _table("sends late by, open loop (ms)", "requests/s", "p50", "p99")
    for server, climbed in servers.items():
        for step in climbed["steps"]:
            if step["lateness_ms"] is not None:
                p50, p99 = step["lateness_ms"]
                table.add_row(f"  against {server}", f"{step['asked']:,}", f"{p50:.3f}", f"{p99:.3f}")
    return table


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:.0f} %"


def _sentence(result: Mapping[str, Any]) -> str:
    """What a user has to know: up to where results can be trusted, and what this measurement itself is worth."""
    ceiling = result["ceiling"]
    known = [
        f"{number(round(ceiling[key]))} {unit}"
        for key, unit in (("chunks_per_s", "chunks/s"), ("requests_per_s", "requests/s"), ("streams", "streams"))
        if ceiling[key] is not None
    ]
    if not known:
        return "Not even the first steps held: this machine is too busy, or too small, to measure with."
    said = f"One worker of this machine can be trusted up to {', '.join(known)}; beyond that nothing was seen to hold."
    if result["disturbed"]:
        said += " Other programs kept the machine busy meanwhile: idle, it may do better."
    return said
