"""A program that makes many runs, such as a search, must not run out of open files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench import load_test, manifest
from bench.config import resolve
from bench.observer import Control, Observer
from bench.run_files.run_directory import CONTROL
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step, in_turn

DESCRIPTORS = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs /proc")


def timers_and_polls() -> Counter[str]:
    """The descriptors of clocks and event loops. Descriptors of connections end only when the server closes them."""
    kinds = Counter[str]()
    for entry in DESCRIPTORS.iterdir():
        with suppress(OSError):  # The descriptor of the listing itself.
            kinds[str(entry.readlink())] += 1
    return Counter({kind: count for kind, count in kinds.items() if kind.startswith("anon_inode:")})


@pytest.mark.parametrize(
    ("flags", "finds_warmup"),
    [({"requests": 2}, False), ({"duration": "0.3s", "warmup": "auto", "max_errors": "5"}, True)],
)
def test_a_run_gives_back_its_clock_and_its_way_in(flags: dict[str, Any], finds_warmup: bool, tmp_path: Path) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD)), "m")) as server:
        before = timers_and_polls()
        config = resolve({"url": server.url, "concurrency": 1, "out": str(tmp_path / "run"), **flags})
        result = load_test.run(config, changeable=True)
        assert timers_and_polls() == before
    assert not (tmp_path / "run" / CONTROL).exists()
    assert result.directory.changes() is not None
    stored = manifest.read(result.directory).manifest
    assert (stored.warmup is not None and stored.warmup.whole) is finds_warmup
    assert stored.stop_reason == ("duration" if finds_warmup else "requests")


def test_a_load_that_is_fixed_cannot_be_set_while_it_runs(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD)), "m")) as server:
        config = resolve({"url": server.url, "mode": "throughput", "requests": 2, "out": str(tmp_path / "run")})
        assert config.fixed_load is not None
        result = load_test.run(config, changeable=True)
    assert result.directory.changes() is None


class Failing(Observer):
    def load_begins(self, control: Control) -> None:
        raise ArithmeticError("the observer failed")


def test_a_run_that_fails_ends_the_process_that_reads_the_servers_metrics(tmp_path: Path) -> None:
    """It ends while the event loop, which reads its messages, still runs: later it could not, and that would hide the
    cause."""
    others = api(in_turn(stream(*GOOD)), "m")

    def script(request: Received) -> Sequence[Step]:
        return whole("200 OK", b"vllm:num_requests_running 0\n") if request.path == "/metrics" else others(request)

    with LiteralServer(script) as server:
        config = resolve(
            {
                "url": server.url,
                "requests": 2,
                "server_metrics": [f"{server.url}/metrics"],
                "out": str(tmp_path / "run"),
            }
        )
        with pytest.raises(ArithmeticError, match="the observer failed"):
            load_test.run(config, observer=Failing())
