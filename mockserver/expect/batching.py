"""Expected results of the `batching` engine: the closed form (engine/closed_form.py) for a range of closed-loop users."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from mockserver.combinations import step_cost_of
from mockserver.config import MockConfig
from mockserver.engine.closed_form import ClosedForm
from mockserver.expect.lengths import RequestLengths
from mockserver.plans.latencies import speculation_of
from mockserver.step_cost import BLOCK_TOKENS

US_PER_MS = 1000
USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
INPUT_TOKENS = 1024
"""The default of common load testers."""


def expected(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    """Capacity, half load, TPOT and throughput of N users. Unknown lengths default to `INPUT_TOKENS` and the mean reply
    length."""
    inputs = INPUT_TOKENS if request.input_tokens is None else request.input_tokens
    outputs = config.output_tokens.mean() if request.output_tokens is None else request.output_tokens
    cost = step_cost_of(config)
    form = ClosedForm(cost, inputs, outputs, speculation_of(config))
    needed = -(-(inputs + outputs) // BLOCK_TOKENS)
    capacity = int(cost.kv_blocks // needed)
    most = min(cost.max_num_seqs, capacity)
    return {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "step_cost": asdict(replace(cost, variation=None)),
        "capacity_requests_per_s": _finite(form.max_requests_per_s),
        "half_load_users": _finite(form.half_load_users),
        "most_users": most,
        "alone_ttft_ms": form.alone_ttft_us() / US_PER_MS,
        "users": [
            {
                "users": users,
                "tpot_ms": form.tpot_us(users) / US_PER_MS,
                "spread_tpot_ms": form.spread_tpot_us(users) / US_PER_MS,
                "requests_per_s": form.requests_per_s(users),
                "output_tokens_per_s": form.requests_per_s(users) * outputs,
            }
            for users in USERS
            if users <= most
        ],
        "how": (
            "a step of N users takes T(N) = b0 + N ((b1 I + b4) / S + b2 (1 + k)) us on average, S the steps of a request (O "
            "without speculation), k its drafts (D(N (1 + k)) in place of the last part with a "
            "decode table D); tpot = T(N) S / O, throughput N / (S T(N)), capacity its limit. Holds "
            "for N users in a closed loop with fixed I and O, no prefix found in the cache, and N <= most_users "
            "(max_num_seqs, and the users whose requests fit into the KV cache whole). Left out: a0, a1, w0, and the wait "
            "for a step to end. Throughput is within 1% for N = 1..256. spread_tpot leaves a request's own prefill out, as a "
            "measured TPOT does where users are spread in time; in lockstep it is lower"
        ),
    }


def _finite(value: float) -> float | None:
    """None if there is no limit, because requests add nothing to a step."""
    return value if math.isfinite(value) else None
