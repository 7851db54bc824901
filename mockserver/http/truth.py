"""GET /truth: what this mock was told to do, what to expect of it, and how far its ledger can be trusted.

What to expect is computed from the configuration in force, per engine (mockserver/expect/), and kept.
"""

from __future__ import annotations

from typing import Any

from mockserver import clock
from mockserver.worker import Serving


def truth_of(serving: Serving, expectation: dict[str, Any], counts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The body of GET /truth, around what was computed for the configuration in force and counted by all workers."""
    return {
        "config": serving.config.model_dump(mode="json"),
        "expected": expectation,
        "configurations": serving.settings.history(),
        "clock": clock.identity(),
        **counts,
        "ledger_lines": serving.ledger.lines,
        "tokenizer": {"name": serving.tokenizer.name, "fingerprint": serving.tokenizer.fingerprint},
    }
