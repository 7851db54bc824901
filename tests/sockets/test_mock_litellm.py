"""`litellm` against the mock, in a process of its own: it takes seconds to import, and leaves event loops open."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

CHECKS = Path(__file__).parent.parent / "support" / "litellm_checks.py"


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="needs litellm: install the extra dev")
def test_litellm_streams_calls_tools_embeds_ranks_and_has_its_errors() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-p", "no:unraisableexception", str(CHECKS)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=CHECKS.parents[2])
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
