"""The verdict exactly at its borders: what is said to be open, and limits that are no table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.results.certificate import NumberRow
from bench.verdict.certificate import _said_to_be_open
from bench.verdict.limits import Limits
from tests.support.results import filled


@pytest.mark.parametrize(
    ("allowed", "measured", "true", "is_open"),
    [
        ([1.0, 3.0], 2.0, 2.5, False),  # As wide as the number itself: not yet more open than it is large.
        ([1.0, 3.1], 2.0, 2.5, True),
        ([1.0, 3.1], 2.0, 1.0, True),
        ([1.0, 3.1], 2.0, 3.1, True),
        ([1.0, 3.1], 2.0, 0.9, False),
        ([1.0, 3.1], 2.0, 3.2, False),
        ([1.0, None], 2.0, 1.0, True),
        ([1.0, None], 2.0, 0.9, False),
        (None, 2.0, 2.0, False),
    ],
)
def test_a_number_is_open_where_it_may_lie_further_apart_than_it_is_large(
    allowed: list[Any] | None, measured: float, true: float, is_open: bool
) -> None:
    assert _said_to_be_open(filled(NumberRow, allowed=allowed, measured=measured, true=true)) is is_open


def test_limits_that_are_no_table_are_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="limits"):
        resolve({"url": "http://h"}, {"limits": ["wide_stamps"]}, "load.yaml")


ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (Path(__file__).parents[3] / "docs" / "verdict.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and line.endswith("` |") and line.count(" | ") == 3
]


def _numbers(text: str) -> list[float]:
    """What a cell says: 1.0 for 1 ms, 0.01 for 1%."""
    found = re.findall(r"(?:>|over) ([\d.]+)(%| ms)", text)
    return [float(number) / (100 if unit == "%" else 1) for number, unit in found]


def test_the_limits_are_those_of_the_page() -> None:
    limits, compared = Limits(), set()
    for _, suspect, invalid, names in ROWS:
        bands = re.findall(r"`(\w+)`", names)
        if not all(hasattr(limits, name) for name in bands):
            continue
        for of, cell in (("suspect", suspect), ("invalid", invalid)):
            said = _numbers(cell.partition(": FAILED")[0]) if "FAILED" not in cell else []
            if len(said) == len(bands):
                compared |= {(name, of) for name in bands}
                assert [getattr(getattr(limits, name), of) for name in bands] == pytest.approx(said), (bands, of)
    assert len(compared) > 40
    assert {
        ("wide_stamps_p99_ms", "suspect"),
        ("pause_of_run", "invalid"),
        ("usage_contradicted", "invalid"),
    } <= compared
