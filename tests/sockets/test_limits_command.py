"""`python -m bench limits`: the command, its bare source, and the warning of a run beyond the ceiling."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.ceiling import default_path, write
from bench.config import resolve
from bench.errors import BenchError, Exit
from bench.limits import measure
from bench.limits.ladder import CLIENT_SIGNS, LADDERS, NO_TIME, Climb
from bench.limits.measure import SERVERS, Pace, Server, bare_source, climb
from bench.load_test import run
from bench.machine import identity
from bench.observer import Cadence, Observer
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.run_process import process, wait_for


def limits(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "limits", *flags],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
    )


@pytest.mark.long
def test_a_quick_measurement_climbs_every_ladder_and_is_kept_for_this_machine(tmp_path: Path) -> None:
    ran = limits(tmp_path, "--quick", "--format", "json")
    assert ran.returncode in (0, 3), ran.stderr  # 3 if other programs leave too little of the machine.
    result: dict[str, Any] = json.loads(ran.stdout)
    assert list(result["ladders"]) == list(LADDERS)
    for by_server in result["ladders"].values():
        assert list(by_server) == list(SERVERS)
        assert all(climbed["ended"] for climbed in by_server.values())
    # On a busy machine there may be no time for a step, or every step may be late. No server is faster than requested.
    for step in result["ladders"]["chunks"]["the bare source"]["steps"]:
        assert 0 < step["load"] <= step["asked"] * 50
    for step in result["ladders"]["requests"]["the bare source"]["steps"]:
        p50, p99 = step["lateness_ms"] or (0.0, 0.0)
        assert 0 <= p50 <= p99
    for name, key in (("chunks", "chunks_per_s"), ("requests", "requests_per_s"), ("streams", "streams")):
        held = [climbed["held"] for climbed in result["ladders"][name].values() if climbed["held"] is not None]
        assert result["ceiling"][key] == max(held, default=None)
    kept = json.loads((tmp_path / "trueload" / "limits.json").read_bytes())
    assert list(kept["machines"].values()) == [result]
    assert "against the bare source" in ran.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--out", "a", "--no-store"), "use only one of them"), (("--quik",), "--quik"), (("--format", "xml"), "xml")],
)
def test_wrong_usage_is_told_before_anything_is_measured(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["limits", *flags]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)


@pytest.mark.wall_clock
def test_a_run_against_the_bare_source_reads_every_token(tmp_path: Path) -> None:
    with bare_source(5.0) as source:
        result = run(
            resolve({"url": source.url, "concurrency": 20, "requests": 60, "input_tokens": "8", "output_tokens": "10",
                     "out": str(tmp_path / "run"), "quiet": True})
        )  # fmt: skip
        used_s = source.cpu_s()
    counts, latency = result.summary.counts, result.summary.latency
    assert (counts.succeeded, counts.failed) == (60, 0)
    assert result.summary.tokens.output == result.summary.tokens.usage.output == 600
    assert latency["chunk_gap_ms"].n == 540
    assert (latency["ttft_ms"].min or 0.0) > 4.9
    assert used_s is not None
    assert 0 < used_s < 5


def test_the_source_ends_with_whoever_started_it() -> None:
    found: list[int] = []

    def started(parent: int) -> bool:
        of_parent = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        with suppress(FileNotFoundError):  # Another child has ended meanwhile.
            found[:] = [
                int(pid) for pid in of_parent if b"bench.limits.source" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
        return bool(found)

    with process(["limits", "--quick", "--no-store"]) as parent:
        wait_for(lambda: started(parent.pid))
        (watched,) = map(os.pidfd_open, found)
        parent.kill()
    assert select.select([watched], [], [], PATIENCE_S)[0] == [watched]
    os.close(watched)


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="Windows has no sessions of processes")
def test_the_source_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_end_it() -> None:
    with bare_source(20.0) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


def test_a_climb_takes_its_steps_from_the_lowest_and_says_why_it_ends() -> None:
    ladder = replace(LADDERS["chunks"], steps=(4, 8))
    with bare_source(ladder.gap_ms) as source:
        climbed = climb(ladder, "the bare source", source, 0.2, 1 << 62, Observer())
    # One more if the machine was busy, because the step is retried.
    assert climbed.steps[0].asked == 4
    assert {step.asked for step in climbed.steps} <= {4, 8}
    assert all(0 < step.load <= step.asked * 50 for step in climbed.steps)
    assert climbed.ended in {"nothing: the last step was reached", "the bare source", *CLIENT_SIGNS.values()}


def test_every_ladder_is_climbed_against_every_server_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[float, int]] = []

    @contextmanager
    def server(gap_ms: float) -> Iterator[Server]:
        began.append((gap_ms, len(noting.said)))
        with bare_source(gap_ms) as source:
            yield source

    noting = Noting()
    ladder = replace(LADDERS["chunks"], steps=(4, 8))
    rates = replace(LADDERS["requests"], steps=(20, 40))
    monkeypatch.setattr(measure, "LADDERS", {"chunks": ladder, "requests": rates})
    monkeypatch.setattr(measure, "SERVERS", {"one": server})
    monkeypatch.setattr(measure, "QUICK", Pace(step_s=0.2, all_s=3_600.0))
    found = measure.measure(quick=True, observer=noting)
    assert found.quick is True
    assert list(found.climbs) == ["chunks", "requests"]
    assert {step.asked for step in found.climbs["chunks"]["one"].steps} <= {4}  # Every other step.
    assert began == [(20.0, 1), (20.0, noting.said.index("requests/s, open loop, one token, against one") + 1)]
    assert noting.said[0] == "chunks/s, a chunk every 20 ms a stream, against one"
    assert re.fullmatch(r"  [\d,]+ chunks/s: (holds|limited by .+)", noting.said[1])
    late = r"  [\d,]+ requests/s, sends late by p50 \d+\.\d\d p99 \d+\.\d\d ms: (holds|limited by .+)"
    assert re.fullmatch(late, noting.said[-1])
    for climbed in (found.climbs["chunks"]["one"], found.climbs["requests"]["one"]):
        assert all(step.server_cpu is not None and 0 <= step.server_cpu < 1 for step in climbed.steps)
    monkeypatch.setattr(measure, "FULL", Pace(step_s=0.2, all_s=0.0))
    none = measure.measure(quick=False, observer=noting)
    assert [climb for by in none.climbs.values() for climb in by.values()] == [Climb(steps=(), ended=NO_TIME)] * 2
    assert len(began) == 2
    assert not none.quick
    assert not noting.drawn  # A step is reported when it is over.


def test_a_source_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(BenchError, match="the source ended with status 1 before it was ready"), bare_source(20.0):
        pass


def test_a_climb_ends_with_a_sentence_where_the_server_is_gone() -> None:
    with bare_source(20.0) as source:
        pass
    climbed = climb(LADDERS["chunks"], "the bare source", source, 1.0, 1 << 62, Observer())
    assert (climbed.held, climbed.client_limited, climbed.steps) == (None, False, ())
    assert "cannot connect" in climbed.ended


class Noting(Observer):
    """Records messages, and how often the numbers of a load arrive."""

    cadence = Cadence(0.05, 0.05)

    def __init__(self) -> None:
        self.said: list[str] = []
        self.drawn = 0

    def progress(self, numbers: object) -> None:
        self.drawn += 1

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.mark.parametrize(("here", "warned"), [(True, True), (False, False)])
def test_a_run_beyond_the_ceiling_of_this_machine_is_warned(
    here: bool, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = identity.host() if here else {**identity.host(), "cpu": "another"}
    ceiling = {"chunks_per_s": 1e6, "requests_per_s": 1e6, "streams": 3}
    write(default_path(), {"host": host, "date": "2026-11-24T10:00:00+00:00", "ceiling": ceiling})
    noting = Noting()
    with mock_process("--ttft", "5ms", "--tpot", "2ms") as mock:
        result = run(
            resolve({"url": mock.url, "concurrency": 4, "requests": 8, "input_tokens": "8", "output_tokens": "3",
                     "workers": "1", "out": str(tmp_path / "run"), "quiet": True}),
            observer=noting,
        )  # fmt: skip
    lines = [line for line in noting.said if line.startswith("warning: ")]
    notes = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())["run"]["notes"]
    assert [line.removeprefix("warning: ") for line in lines] == notes == [*(result.summary.run.notes or ())]
    assert ["4 streams at once" in note for note in notes] == ([True] if warned else [])
