"""A packet that overtakes another waits in the kernel, which keeps the stamp of its arrival."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.clock import NS_PER_MS
from bench.records import Outcome, from_line
from tests.support.literal_replies import GOOD_KINDS
from tests.support.overtaking_peer import NOT_ALLOWED
from tests.support.patience import PATIENCE_S

NAMESPACE = ["unshare", "--user", "--map-root-user", "--net"]


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="needs a TUN device")
def test_chunks_that_overtook_others_have_the_stamp_of_the_moment_when_they_could_be_read(reads: str) -> None:
    words = [*NAMESPACE, sys.executable, "-m", "tests.support.overtaking_peer", reads]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if "unshare" in done.stderr or done.returncode == NOT_ALLOWED:
        pytest.skip("needs a network namespace and a TUN device of its own")
    assert done.returncode == 0, done.stderr
    delivered_ns, line = done.stdout.splitlines()
    record = from_line(line.encode())
    assert (record.outcome, record.chunk_kind, record.clock) == (Outcome.OK, GOOD_KINDS, "mixed")
    # Both clocks are measured: two stamps agree to within this.
    early_ms = [(int(delivered_ns) - stamp_ns) / NS_PER_MS for stamp_ns in record.chunk_ns]
    assert max(early_ms) < 1, early_ms
