"""The mock's engine with a fitted profile, against the fitted server, at unseen loads.

scripts/fit-unseen does the same with 50 servers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.step_families import FAMILIES
from tests.support.step_server import StepServer
from tests.support.unseen_loads import WITHIN, Case, compared


@pytest.mark.parametrize("family", ["uneven", "modes of 30 steps", "more with load"])
def test_slow_steps_of_a_server_come_back_at_loads_that_the_fit_has_not_seen(family: str, tmp_path: Path) -> None:
    server = StepServer(b0=9_000, b1=25, b2=200, a0=3_000, varied=FAMILIES[family])
    found = compared(Case(family, server, seed=4, fit_s=25.0, compare_s=60.0), tmp_path)
    missed = {
        (load, number): f"{off[number]:+.1%}"
        for load, off in found.items()
        for number, within in WITHIN.items()
        if abs(off[number]) > within
    }
    assert missed == {}
