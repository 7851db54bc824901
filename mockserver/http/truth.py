"""GET /truth: the configuration, what to expect of it, and how far to trust the ledger.

The expectation is computed from the current configuration, per engine (mockserver/expect/), and cached.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mockserver import clock
from mockserver.worker import Worker


def truth_of(worker: Worker, expected: dict[str, Any], counts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The body of GET /truth. `expected` belongs to the current configuration, `counts` are the sums over all workers."""
    return {
        "config": worker.config.model_dump(mode="json"),
        "expected": expected,
        "configurations": worker.settings.history(),
        "clock": clock.identity(),
        **counts,
        "stored_responses": asdict(worker.shared.responses.state()),
        "sender": "python" if worker.sender is None else "compiled",
        "ledger_lines": worker.ledger.lines,
        "tokenizer": {"name": worker.tokenizer.name, "fingerprint": worker.tokenizer.fingerprint},
    }
