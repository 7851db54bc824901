"""The verdict exactly at its borders: what counts as open, and invalid limits."""

from __future__ import annotations

from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.results.certificate import NumberRow
from bench.verdict.certificate import _said_to_be_open
from tests.support.results import filled


@pytest.mark.parametrize(
    ("allowed", "measured", "true", "is_open"),
    [
        ([1.0, 3.0], 2.0, 2.5, False),  # The range is as wide as the number is large, which is just allowed.
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
