"""Assertions of tests about the ledger, and their failure messages. Pure functions of ledger lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mockserver.clock import NS_PER_MS

Line = dict[str, Any]
"""One line of the ledger."""


def _output_tokens(line: Line) -> int:
    """The number of tokens sent. A whole reply has no chunks, and sends all of its tokens or none."""
    if line["chunk_kind"]:
        return sum(line["chunk_tokens"])
    return line["planned"]["output_tokens"] if line["status"] == 200 else 0


FIELDS: dict[str, Callable[[Line], object]] = {
    "id": lambda line: line["id"],
    "index": lambda line: line["index"],
    "attempt": lambda line: line["attempt"],
    "status": lambda line: line["status"],
    "fault": lambda line: line["fault"],
    "input_tokens": lambda line: line["input_tokens"],
    "output_tokens": _output_tokens,
    "cut": lambda line: line["engine"].get("cut"),
}
"""The fields that a test can check."""


def check_fields(fields: Mapping[str, object]) -> None:
    """Raises TypeError for an unknown field."""
    if unknown := [name for name in fields if name not in FIELDS]:
        raise TypeError(
            f"expect() has no argument {', '.join(unknown)}; it takes requests, within_s, {', '.join(FIELDS)}"
        )


def matching(lines: Sequence[Line], fields: Mapping[str, object]) -> list[Line]:
    """The lines with all of these fields."""
    return [line for line in lines if all(_holds(wanted, FIELDS[name](line)) for name, wanted in fields.items())]


def _holds(wanted: object, value: object) -> bool:
    return bool(wanted(value)) if callable(wanted) else wanted == value


def report(lines: Sequence[Line], matches: Sequence[Line], requests: int | None, fields: Mapping[str, object]) -> str:
    """The failure message: the expectation, the result, and every line. `>` marks the lines that match."""
    wanted = "at least 1 request" if requests is None else f"{requests} request{'' if requests == 1 else 's'}"
    terms = ", ".join(f"{name}={_written(value)}" for name, value in fields.items())
    head = f"expected {wanted}{' with ' if terms else ''}{terms}, found {len(matches)} (of {len(lines)} in the ledger)"
    if not lines:
        return f"{head}: no request has ended yet"
    rows: list[tuple[str, ...]] = [("", "id", "status", "fault", "in", "out", "ttft ms", "total ms", "cut")]
    marked = {id(line) for line in matches}
    for line in lines:
        first = next((at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind in "ct"), None)
        rows.append(
            (
                ">" if id(line) in marked else "",
                *(_cell(FIELDS[name](line)) for name in ("id", "status", "fault", "input_tokens", "output_tokens")),
                _ms(first, line["received_ns"]),
                _ms(line["end_ns"], line["received_ns"]),
                _cell(FIELDS["cut"](line)),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, *table])


def _written(value: object) -> str:
    return getattr(value, "__name__", "a condition") if callable(value) else repr(value)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _ms(until_ns: int | None, from_ns: int) -> str:
    return "-" if until_ns is None else f"{(until_ns - from_ns) / NS_PER_MS:.1f}"
