"""The finding of a sign, and the verdict over all findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.results.status import Status

__all__ = ["Finding", "Status", "Verdict", "badness", "milder", "worst"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one sign: its value, its status by the band, and a sentence for the user."""

    sign: str
    status: Status
    value: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst of the findings, and all of them."""

    status: Status
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """The sentences of all findings that are not VALID, the worst first."""
        return [f.sentence for f in self._bad()]

    @property
    def signs(self) -> list[str]:
        return [f.sign for f in self._bad()]

    def _bad(self) -> list[Finding]:
        bad = [f for f in self.findings if f.status is not Status.VALID]
        return sorted(bad, key=lambda f: badness(f.status), reverse=True)

    def of(self, sign: str) -> Status:
        """The worst finding of one sign; VALID if it has no findings."""
        return worst(f.status for f in self.findings if f.sign == sign)


def badness(status: Status) -> int:
    """A rank: 0 for VALID, higher for worse."""
    return list(Status).index(status)


def worst(statuses: Iterable[Status]) -> Status:
    """The worst status; VALID if there is none."""
    return max(statuses, key=badness, default=Status.VALID)


def milder(first: Status, second: Status) -> Status:
    """Combines an absolute and a relative band: a value must exceed both, so the milder status counts."""
    return min(first, second, key=badness)
