"""Fixtures shared by several files of this folder."""

from __future__ import annotations

import pytest

from bench.fit import coefficients


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the resamples, for tests of the fitted values. Other tests check the width of intervals."""
    monkeypatch.setattr(coefficients, "_RESAMPLES", coefficients._RESAMPLES // 5)
