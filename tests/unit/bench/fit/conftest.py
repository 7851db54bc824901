"""What several files of this folder use."""

from __future__ import annotations

import pytest

from bench.fit import coefficients


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is fitted: a fifth of the resamples. Others show how wide intervals are."""
    monkeypatch.setattr(coefficients, "_RESAMPLES", coefficients._RESAMPLES // 5)
