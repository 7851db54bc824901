"""Which later runs a certificate speaks of: pure decisions over the shape of two loads.

A run is covered by a certificate of the same machine, the same version of Trueload and the same kind of load (`KIND`) whose
streams, requests a second and chunks a second are not less than its own, but for a tenth. A certificate that found the
numbers right (its accuracy is VALID, whatever else its verdict said) speaks for smaller loads too. One that did not speaks
for loads of its own size alone: a smaller one may be well measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import log
from typing import Any

MAX_LOAD_RATIO = 1.1
"""A load may be this much greater than that of the certificate."""
MIN_LOAD_RATIO_UNLESS_VALID = 0.8
"""A certificate that is not VALID covers no load under this share of its own."""

KIND = {
    "loop": "load",
    "transport": "transport",
    "workers": "number of workers",
    "stream": "kind of reply",
    "tls": "use of TLS",
    "clock": "source of the time stamps",
}
"""What must be the same, and its name."""

SIZE = {"streams": "streams", "requests_per_s": "requests/s", "chunks_per_s": "chunks/s"}
"""What must not be exceeded, and its unit."""

MAX_PER_MACHINE = 32
"""So many certificates of a machine are kept, the latest of each shape."""


def shape_of(summary: Mapping[str, Any], config: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """The shape of a load as it was measured: a summary, its configuration (as stored), its number of workers."""
    load, duration_s = summary["load"], summary["throughput"]["duration_s"]
    clocks = summary["instrument"]["clock"]
    chunks = summary["tokens"]["chunks"]["with_tokens"]
    return {
        **load_kind(config, workers),
        "clock": max(clocks, key=lambda name: clocks[name]),
        "streams": load["concurrency_max"],
        "requests_per_s": load["achieved_rps"],
        "chunks_per_s": chunks / duration_s if duration_s else None,
    }


def why_not(certificate: Mapping[str, Any], shape: Mapping[str, Any], version: str) -> list[str]:
    """Why a certificate says nothing of a load; empty where it covers it. Both are of one machine."""
    its: Mapping[str, Any] = certificate["shape"]
    reasons = []
    if certificate["version"] != version:
        reasons.append(f"it is of version {certificate['version']}")
    for key, name in KIND.items():
        if its[key] != shape[key]:
            reasons.append(f"another {name}: {its[key]}")
    for key, unit in SIZE.items():
        size, other = shape[key], its[key]
        if size is None and other is None:
            continue
        if size is None or other is None or size > other * MAX_LOAD_RATIO:
            reasons.append(f"a larger load: {_amount(size)} {unit} where it was measured with {_amount(other)}")
        elif certificate["status"] != "VALID" and size < other * MIN_LOAD_RATIO_UNLESS_VALID:
            reasons.append(f"a smaller load, and it is {certificate['status']}")
    return reasons


def _amount(value: float | None) -> str:
    return "an unknown number of" if value is None else f"{value:,.0f}"


def usable(entry: Any) -> list[Mapping[str, Any]]:
    """The certificates in what is kept of a machine, without those that another version wrote in another form."""
    found = entry.get("certificates") if isinstance(entry, Mapping) else None
    return [c for c in found if _is_brief(c)] if isinstance(found, list) else []


def _is_brief(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value.keys() >= {*_TOLD, "status", "metrics"}:
        return False
    return isinstance(value["shape"], Mapping) and value["shape"].keys() >= {*KIND, *SIZE}


def for_run(
    certificates: Iterable[Mapping[str, Any]], kind: Mapping[str, Any], version: str
) -> list[Mapping[str, Any]]:
    """Those that may cover a run that has not begun: its version, and what of its kind is known, are theirs."""
    return [c for c in certificates if c["version"] == version and all(c["shape"][k] == v for k, v in kind.items())]


def load_kind(config: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """What of a load's kind is known before it begins, from its configuration as it is stored."""
    return {
        "loop": "open loop" if config["mode"] in ("rate", "trace") else "closed loop",
        "transport": config["transport"],
        "workers": workers,
        "stream": "streamed" if config["stream"] else "whole",
        "tls": config["url"].startswith("https:"),
    }


def closest(
    certificates: Iterable[Mapping[str, Any]], shape: Mapping[str, Any], version: str
) -> Mapping[str, Any] | None:
    """Of the certificates that cover a load the one that is nearest to it, the latest of equals; None where none does."""
    covering = [c for c in certificates if not why_not(c, shape, version)]
    return min(covering, key=lambda c: (round(_distance(c["shape"], shape), 1), -_seconds(c["date"])), default=None)


def _distance(its: Mapping[str, Any], shape: Mapping[str, Any]) -> float:
    return sum(abs(log(its[key] / shape[key])) for key in SIZE if its[key] and shape[key])


def _seconds(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()


def kept_with(certificates: Iterable[Mapping[str, Any]], new: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is kept once there is a new one: it takes the place of those of its own shape."""
    others = [c for c in certificates if not _same_shape(c["shape"], new["shape"])]
    return sorted([*others, new], key=lambda c: -_seconds(c["date"]))[:MAX_PER_MACHINE]


def _same_shape(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    kind = all(one[key] == other[key] for key in KIND)
    return (
        kind
        and _distance(one, other) < 3 * log(MAX_LOAD_RATIO)
        and [one[k] is None for k in SIZE] == [other[k] is None for k in SIZE]
    )


_TOLD = ("date", "version", "shape", "observation_lag_ms", "way_in_ms", "problems")


def brief(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """What of a whole certificate is kept for later runs."""
    rows = [
        {key: row[key] for key in ("metric", "stat", "unit", "error")}
        for row in certificate["metrics"]
        if row["unit"] == "ms"
    ]
    return {
        **{key: certificate[key] for key in _TOLD},
        "status": certificate["accuracy"],
        "metrics": rows,
    }


def stamp(certificate: Mapping[str, Any], latency: Mapping[str, Any], ended: str) -> dict[str, Any]:
    """`calibration` of a run that a kept certificate covers: the errors found then, as shares of what was measured now."""
    rows = []
    for row in certificate["metrics"]:
        measured = (latency.get(row["metric"]) or {}).get(row["stat"])
        if measured is not None:
            share = row["error"] / measured if measured else None
            rows.append({**row, "measured": measured, "error_share": share})
    return {
        "from": "certificate",
        **{key: value for key, value in certificate.items() if key != "metrics"},
        "age_s": max(_seconds(ended) - _seconds(certificate["date"]), 0.0),
        "metrics": rows,
    }
