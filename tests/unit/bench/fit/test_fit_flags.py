"""The flags of the command fit: the server limits given to it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from bench.commands.fit import _limits
from bench.errors import UsageError

NONE: dict[str, Any] = {"max_num_seqs": None, "max_num_batched_tokens": None, "kv_blocks": None, "step_gap": None}


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, {}),
        ({"max_num_seqs": "1", "max_num_batched_tokens": "8192", "kv_blocks": "12"},
         {"max_num_seqs": 1.0, "max_num_batched_tokens": 8192.0, "kv_blocks": 12.0}),
        ({"step_gap": "0.6"}, {"step_gap_us": 600.0}),
        ({"step_gap": "59999"}, {"step_gap_us": 59_999_000.0}),
    ],
)  # fmt: skip
def test_limits_are_read_in_the_units_of_the_fit(given: dict[str, str], limits: dict[str, float]) -> None:
    assert _limits(Namespace(**NONE | given)) == pytest.approx(limits)


def test_every_wrong_limit_is_named() -> None:
    for wrong in ("0", "-1", "1.5", "x", ""):
        with pytest.raises(UsageError) as refused:
            _limits(Namespace(max_num_seqs=wrong, max_num_batched_tokens=wrong, kv_blocks=wrong, step_gap="60000"))
        whole = f"{wrong}: write a whole number of at least 1"
        assert refused.value.problems == [
            f"--max-num-seqs {whole}", f"--max-num-batched-tokens {whole}", f"--kv-blocks {whole}",
            "--step-gap 60000: write a number of ms, for example 0.6",
        ]  # fmt: skip
    for gap in ("0", "-1", "x", "nan", "inf"):
        with pytest.raises(UsageError, match=f"--step-gap {gap}: write a number of ms"):
            _limits(Namespace(**NONE | {"step_gap": gap}))
