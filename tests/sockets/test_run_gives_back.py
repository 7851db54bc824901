"""A program that makes many runs, such as a search, must not run out of open files."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from bench import load_test
from bench.config import resolve
from bench.run_files.run_directory import CONTROL
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer, in_turn

DESCRIPTORS = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs /proc")


def timers_and_polls() -> Counter[str]:
    """The descriptors of clocks and event loops. Those of connections end when the server closes them, too."""
    kinds = Counter[str]()
    for entry in DESCRIPTORS.iterdir():
        with suppress(OSError):  # The one that lists them.
            kinds[str(entry.readlink())] += 1
    return Counter({kind: count for kind, count in kinds.items() if kind.startswith("anon_inode:")})


def test_a_run_gives_back_its_clock_and_its_way_in(tmp_path: Path) -> None:
    flags = {"concurrency": 1, "requests": 2, "out": str(tmp_path / "run")}
    with LiteralServer(api(in_turn(stream(*GOOD)), "m")) as server:
        before = timers_and_polls()
        load_test.run(resolve({"url": server.url, **flags}), changeable=True)
        assert timers_and_polls() == before
    assert not (tmp_path / "run" / CONTROL).exists()
