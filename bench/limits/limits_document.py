"""The document of a machine's limits: the ceilings, what limited them, and how late sends became."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.documents.document import Column, Document, Finding, Findings, Level, Row, Section, Table
from bench.documents.formatting import NOTHING, number
from bench.limits.ladder import LADDERS, Climb
from bench.limits.result import MachineLimits


def limits_document(result: MachineLimits) -> Document:
    """The document of a machine's limits."""
    host = result.host
    subtitle = f"{host['name']}: {host['cpu']}, {host['processors']} processors; one worker, on {result.date[:10]}"
    blocks = (
        _ceilings(result.climbs),
        _lateness(result.climbs["requests"]),
        Findings((Finding(_sentence(result)),), level=Level.FIRST),
    )
    return Document("", (), (Section("", blocks),), subtitle)


def _ceilings(ladders: Mapping[str, Mapping[str, Climb]]) -> Table:
    columns = (
        Column(""), Column("Held"), Column("Client CPU"), Column("Server CPU"), Column("Limited by", left=True, wrap=True)
    )  # fmt: skip
    return Table("Ceilings", columns, tuple(_ceiling_rows(ladders)), level=Level.FIRST)


def _ceiling_rows(ladders: Mapping[str, Mapping[str, Climb]]) -> Iterator[Row]:
    for name, servers in ladders.items():
        yield Row(LADDERS[name].title, group=True)
        for server, climb in servers.items():
            best = max((step for step in climb.steps if step.cause is None), key=lambda step: step.load, default=None)
            ceiling = "nothing" if best is None else number(round(best.load))
            cpu = (NOTHING, NOTHING) if best is None else (_percent(best.client_cpu), _percent(best.server_cpu))
            yield Row(f"  against {server}", ceiling, *cpu, climb.ended)


def _lateness(servers: Mapping[str, Climb]) -> Table:
    rows = tuple(
        Row(f"  against {server}", f"{step.asked:,}", *(f"{ms:.3f}" for ms in step.lateness_ms))
        for server, climb in servers.items()
        for step in climb.steps
        if step.lateness_ms is not None
    )
    columns = (Column("Send lateness, open loop (ms)"), Column("Requests/s"), Column("P50"), Column("P99"))
    return Table("Lateness", columns, rows, level=Level.FIRST)


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:.0f}%"


def _sentence(result: MachineLimits) -> str:
    """The conclusion: up to which loads to trust results, and whether this measurement was disturbed."""
    ceiling = result.ceiling
    units = (("chunks_per_s", "chunks/s"), ("requests_per_s", "requests/s"), ("streams", "streams"))
    known = [f"{number(round(load))} {unit}" for key, unit in units if (load := ceiling[key]) is not None]
    if not known:
        return "Not even the first steps held: this machine is too busy, or too small, to measure with."
    text = f"Trust one worker of this machine up to {', '.join(known)}. No higher load was seen to hold."
    if result.disturbed:
        text += " Other programs kept the machine busy during the measurement: an idle machine may do better."
    return text
