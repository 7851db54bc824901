"""Decides which later runs a certificate covers, from the shapes of two loads. Pure.

A certificate covers a run on the same machine, with the same version of Trueload and the same kind of load (`KIND`),
whose streams, requests per second and chunks per second are at most a tenth above its own. A certificate whose accuracy
is VALID also covers smaller loads, whatever the rest of its verdict. A certificate that is not VALID covers only loads
of about its own size: a smaller load may be measured well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import log
from typing import Any

import msgspec

from bench.accuracy.load_shape import LoadKind
from bench.results.base import to_plain
from bench.results.certificate import Certificate, KnownCalibration, KnownErrorRow, LoadShape, Spread

MAX_LOAD_RATIO = 1.1
"""A certificate covers loads up to this many times its own."""
MIN_LOAD_RATIO_UNLESS_VALID = 0.8
"""A certificate that is not VALID does not cover loads below this share of its own."""

KIND = {
    "loop": "load",
    "transport": "transport",
    "workers": "number of workers",
    "stream": "kind of reply",
    "tls": "use of TLS",
    "endpoint": "endpoint",
    "clock": "source of the time stamps",
}
"""Properties that must be equal, with their names."""

SIZE = {"streams": "streams", "requests_per_s": "requests/s", "chunks_per_s": "chunks/s"}
"""Sizes that must not be exceeded, with their units."""

MAX_PER_MACHINE = 32
"""The most certificates per machine: the latest of each shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownError:
    """The error of one number in a certificate: measured minus true."""

    metric: str
    stat: str
    unit: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateBrief:
    """The part of a certificate that the cache keeps for later runs. `metrics` are the errors of times, in ms."""

    date: str
    version: str
    shape: LoadShape
    observation_lag_ms: Spread
    way_in_ms: Spread
    problems: Sequence[str]
    status: str
    """The verdict on the errors alone."""
    metrics: Sequence[KnownError]

    @classmethod
    def of(cls, certificate: Certificate) -> CertificateBrief:
        """The brief of a whole certificate (certificate.json)."""
        content = to_plain(certificate)
        times = [row for row in content["metrics"] if row["unit"] == "ms"]
        return cls.from_json(content | {"status": content["accuracy"], "metrics": times})

    @classmethod
    def from_json(cls, value: object) -> CertificateBrief:
        """Parse an entry of the cache. Raises ValueError if it has another form. A shape without an endpoint is for chats."""
        if isinstance(value, dict) and isinstance(value.get("shape"), dict):
            value = value | {"shape": {"endpoint": "chat"} | value["shape"]}
        brief = msgspec.convert(value, cls)
        if any((getattr(brief.shape, key) or 0.0) < 0 for key in SIZE):
            raise ValueError("certificate.shape: no load is less than none")
        _seconds(brief.date)
        return brief

    def to_json(self) -> dict[str, Any]:
        """The entry for the cache."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content

    def on_run(self, measured_of: Callable[[str, str], float | None], ended_at: str) -> KnownCalibration:
        """`calibration` in the summary of a covered run: the known errors as shares of the values measured now.
        `measured_of` returns a statistic of a metric."""
        rows = []
        for error in self.metrics:
            measured = measured_of(error.metric, error.stat)
            if measured is not None:
                share = error.error / measured if measured else None
                rows.append(KnownErrorRow(**asdict(error), measured=measured, error_share=share))
        return KnownCalibration(
            date=self.date,
            version=self.version,
            shape=self.shape,
            observation_lag_ms=self.observation_lag_ms,
            way_in_ms=self.way_in_ms,
            problems=list(self.problems),
            status=self.status,
            age_s=max(_seconds(ended_at) - _seconds(self.date), 0.0),
            metrics=rows,
        )


def read_briefs(values: object) -> list[CertificateBrief]:
    """The certificates in a list that was read from a file. Those in another form (of another version) are left out."""
    briefs = []
    for value in values if isinstance(values, list) else ():
        try:
            briefs.append(CertificateBrief.from_json(value))
        except ValueError:
            continue
    return briefs


def in_entry(entry: object) -> list[CertificateBrief]:
    """The certificates in a machine's cache entry: the key `certificates`."""
    return read_briefs(entry.get("certificates")) if isinstance(entry, Mapping) else []


def why_not(certificate: CertificateBrief, shape: LoadShape, version: str) -> list[str]:
    """Why a certificate does not cover a load on its machine; empty if it does."""
    its = certificate.shape
    reasons = []
    if certificate.version != version:
        reasons.append(f"it is of version {certificate.version}")
    for key, name in KIND.items():
        if getattr(its, key) != getattr(shape, key):
            reasons.append(f"another {name}: {getattr(its, key)}")
    for key, unit in SIZE.items():
        size, other = getattr(shape, key), getattr(its, key)
        if size is None and other is None:
            continue
        if size is None or other is None or size > other * MAX_LOAD_RATIO:
            reasons.append(f"a larger load: {_amount(size)} {unit}; it was made at {_amount(other)}")
        elif certificate.status != "VALID" and size < other * MIN_LOAD_RATIO_UNLESS_VALID:
            reasons.append(f"a smaller load, and it is {certificate.status}")
    return reasons


def _amount(value: float | None) -> str:
    return "an unknown number of" if value is None else f"{value:,.0f}"


def for_run(certificates: Iterable[CertificateBrief], kind: LoadKind, version: str) -> list[CertificateBrief]:
    """The certificates that may cover a run of this kind and version, before the run begins."""
    return [c for c in certificates if c.version == version and kind.has(c.shape)]


def closest(certificates: Iterable[CertificateBrief], shape: LoadShape, version: str) -> CertificateBrief | None:
    """The covering certificate nearest to a load, the latest if there are several; None if none covers it."""
    covering = [c for c in certificates if not why_not(c, shape, version)]
    return min(covering, key=lambda c: (round(_distance(c.shape, shape), 1), -_seconds(c.date)), default=None)


def _distance(shape: LoadShape, other: LoadShape) -> float:
    pairs = [(getattr(shape, key), getattr(other, key)) for key in SIZE]
    return sum(abs(log(a / b)) for a, b in pairs if a and b)


def _seconds(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()


def kept_with(certificates: Iterable[CertificateBrief], new: CertificateBrief) -> list[CertificateBrief]:
    """The certificates to keep after adding a new one, which replaces those of its own shape."""
    others = [c for c in certificates if not _same_shape(c.shape, new.shape)]
    return sorted([*others, new], key=lambda c: -_seconds(c.date))[:MAX_PER_MACHINE]


def _same_shape(shape: LoadShape, other: LoadShape) -> bool:
    same_kind = all(getattr(shape, key) == getattr(other, key) for key in KIND)
    same_unknown = all((getattr(shape, key) is None) == (getattr(other, key) is None) for key in SIZE)
    return same_kind and same_unknown and _distance(shape, other) < 3 * log(MAX_LOAD_RATIO)
