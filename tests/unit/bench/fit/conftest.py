"""Fixtures shared by several files of this folder."""

from __future__ import annotations

import pytest

from bench.fit import coefficients


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the fitted values: a fifth of the resamples. Other tests check the width of intervals."""
    monkeypatch.setattr(coefficients, "_RESAMPLES", coefficients._RESAMPLES // 5)
