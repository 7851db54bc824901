"""GET /truth: what this mock was told to do, what to expect of it, and how far its ledger can be trusted.

The expected values are the means of the configured distributions in closed form. With TTFT, TPOT and lengths drawn
independently, E[E2EL] = E[TTFT] + (E[n] - 1) E[TPOT]; it holds for requests whose length the mock chooses, and without
faults.
"""

from __future__ import annotations

from typing import Any

from mockserver.clock import NS_PER_MS
from mockserver.serving import Serving


def truth_of(serving: Serving) -> dict[str, Any]:
    """The body of GET /truth, times in ms."""
    config, arrivals = serving.config, serving.arrivals
    token = config.tpot if config.itl is None else config.itl
    ttft_ms = config.ttft.mean() / NS_PER_MS
    tpot_ms = token.mean() / NS_PER_MS
    tokens = config.output_tokens.mean()
    return {
        "config": config.model_dump(mode="json"),
        "expected": {
            "ttft_ms": {"mean": ttft_ms},
            "tpot_ms": {"mean": tpot_ms},
            "output_tokens": {"mean": tokens},
            "e2el_ms": {"mean": ttft_ms + (tokens - 1) * tpot_ms},
        },
        "configurations": serving.settings.history(),
        "arrival_clock": dict(serving.clocks),
        "plans_keyed_by": {
            "index": arrivals.by_index,
            "id": arrivals.by_id,
            "arrival_order": arrivals.by_order,
        },
        "ledger_lines": serving.ledger.lines,
        "tokenizer": {"name": serving.tokenizer.name, "fingerprint": serving.tokenizer.fingerprint},
    }
