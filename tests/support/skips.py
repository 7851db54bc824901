"""The last line of a test run: how many tests were skipped, why, and the command that makes them run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

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
"""A word of the reason, and the command that helps. Other reasons are the machine's own (no Linux, no IPv6)."""


def last_line(reasons: Iterable[str]) -> str:
    """One sentence about the tests that were skipped for these reasons; empty where none was."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    return "" if not counts else "skipped: " + "; ".join(_phrase(reason, n) for reason, n in counts.most_common())


def _phrase(reason: str, n: int) -> str:
    remedy = next((command for word, command in REMEDIES.items() if word in reason), None)
    return f"{n} ({reason})" + ("" if remedy is None else f": run {remedy}")
