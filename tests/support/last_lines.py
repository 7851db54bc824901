"""The last lines of a test run: tests that passed only on a retry, were skipped or left out, and all counts.

`scripts/test` runs pytest twice: the first run's lines are kept, and the second prints those of both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

REMEDIES = {
    "chromium": "scripts/browser",
    "playwright": "scripts/environment dev,real",
    "extra `real`": "scripts/environment dev,real",
    "extra dev": "scripts/environment dev,real",
    "extra `ray`": "scripts/environment dev,real,ray",
    "pyarrow": "scripts/environment dev,real",
    "faker": "scripts/environment dev,real",
    "vLLM": "TRUELOAD_VLLM_PYTHON=/path/to/python scripts/test",
    "tokenizers": "scripts/real-tokenizers",
}
"""A word in the reason, and the command that helps. Other reasons depend on the machine (no Linux, no IPv6)."""

LEFT_OUT = (
    "--quick left out {:,} tests that are heavy or slow or start processes: run scripts/test tests/unit tests/virtual"
)


@dataclass
class Ended:
    """How the tests of a run ended."""

    counts: dict[str, int] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """A line for each test that passed on a retry."""
    skipped: list[str] = field(default_factory=list)
    """The reason of each skipped test."""
    left_out: int = 0
    """How many tests --quick left out, in the folders that it covers."""

    def lines(self) -> list[str]:
        """The last lines."""
        counted = ", ".join(f"{n:,} {how}" for how, n in self.counts.items() if n or how == "passed")
        left_out = [LEFT_OUT.format(self.left_out)] if self.left_out else []
        return [*sorted(self.again), *skips(self.skipped), *left_out, counted]


def both(kept: Path, ended: Ended) -> Ended:
    """The combined counts of this run and the file; the file is updated."""
    before = Ended(**json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else Ended()
    counts = {how: before.counts.get(how, 0) + ended.counts.get(how, 0) for how in {**before.counts, **ended.counts}}
    whole = Ended(counts, before.again + ended.again, before.skipped + ended.skipped)
    kept.write_text(json.dumps(asdict(whole)), encoding="utf-8")
    return whole


def skips(reasons: Iterable[str]) -> list[str]:
    """A line about the skipped tests and their reasons; empty if there are none."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    return ["skipped: " + "; ".join(_phrase(reason, n) for reason, n in counts.most_common())] if counts else []


def _phrase(reason: str, n: int) -> str:
    remedy = next((command for word, command in REMEDIES.items() if word in reason), None)
    return f"{n} ({reason})" + ("" if remedy is None else f": run {remedy}")
