"""Quick parts of scripts/hard-use: names, addresses, a proxy, a kill. The script detects planted losses."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.changed import replace
from tests.support.patience import PATIENCE_S
from tests.support.run_process import wait_for

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import hard_use  # noqa: E402
from hard_parts import PARTS, surroundings  # noqa: E402
from hard_parts.control_group import SAID, VERSIONS, Group  # noqa: E402
from hard_parts.kills import SCENARIOS, kill_once  # noqa: E402
from hard_parts.loads import judged  # noqa: E402
from hard_parts.place import Asked, Place, ended_before, records_in, role_of, row  # noqa: E402
from hard_parts.watch import COLUMNS, memory_of, samples_in  # noqa: E402

from bench.process.child_process import death  # noqa: E402

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"), pytest.mark.long]


def asked(folder: Path) -> Asked:
    return Asked(folder, minutes=None, requests=10, times=1, seed=1)


def test_unknown_names_and_ipv6_lose_nothing(tmp_path: Path) -> None:
    assert [(one.what, one.lost_words) for one in surroundings.names(asked(tmp_path)) if one.lost] == []


def test_a_proxy_that_buffers_loses_nothing(tmp_path: Path) -> None:
    (found,) = surroundings.proxy(asked(tmp_path))
    assert not found.lost, found


def test_a_worker_that_is_killed_loses_nothing_that_had_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, kills = Place(tmp_path / "place"), sys.modules[kill_once.__module__]
    awaited = kills._await

    def until_records(*given: Any) -> list[int]:
        """Wait for the phase, and then until a request has ended."""
        numbers: list[int] = awaited(*given)
        wait_for(lambda: bool(records_in(place.folder / "run")))
        return numbers

    monkeypatch.setattr(kills, "LONGEST_S", PATIENCE_S)
    monkeypatch.setattr(kills, "_await", until_records)
    two = SCENARIOS["two workers"]
    # By number of requests: the slower the machine, the longer the run lasts.
    by_number = {"--duration": "--requests", "3s": "2000"}
    scenario = replace(two, words=lambda url: [by_number.get(word, word) for word in two.words(url)])
    with place.mock("--ttft", "200ms", "--tpot", "5ms") as (url, ledger):
        victim, _, wrong = kill_once(place, scenario, url, ledger, random.Random(4), "worker", "running", 0.7)
    assert (victim, wrong) == ("worker", [])
    assert records_in(place.folder / "run")


def test_a_request_without_a_record_is_seen(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    lines = [
        {"id": "a-1", "end_ns": 5, "engine": {}},
        {"id": "a-2", "end_ns": 50, "engine": {}},  # Too late to require.
        {"id": "a-3", "end_ns": 5, "engine": {"cut": "client_closed"}},  # The request never ended.
        {"id": "probe-1", "end_ns": 5, "engine": {}},
    ]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"id": "torn"')
    assert ended_before(ledger, 10) == {"a-1"}
    (tmp_path / "requests-1.jsonl").write_text('{"id": "a-2"}\n{"id": "a-1"')
    assert records_in(tmp_path).keys() == {"a-2"}


def test_what_runs_and_what_lies_about_is_seen(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with subprocess.Popen(["sleep", "60"], env=place.environment) as process:
        assert place.processes() == {process.pid: "other"}
        assert place.wait_for_all(0.1) == {process.pid: "other"}
        place.end_all()
    assert place.processes() == {}
    (tmp_path / "tmp" / "trueload-x").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.yaml.new").touch()
    assert place.left_behind() == ["trueload-x in the folder of temporary files", "run/.run.yaml.new"]


def test_processes_are_told_apart_by_their_command_lines() -> None:
    roles = ["worker", "feed", "scrape", "precision", "mock", "console", "parent", "parent"]
    modules = ["bench.scale.program", "bench.load.feed_program", "bench.target.scrape_program"]
    modules += ["bench.load.precision_program", "mockserver.child", "bench console", "bench search", "bench run"]
    assert [role_of(["python", "-m", *module.split()]) for module in modules] == roles


def test_memory_is_told_by_process_over_the_steady_part_of_the_load(tmp_path: Path) -> None:
    file = tmp_path / "memory.csv"
    rows = [(at, "running", "worker", 2, 500 - 4 * min(at, 20) + at, 90, 8 + at % 3, at / 4) for at in range(101)]
    rows += [(at, "running", "parent", 1, 50, 40, 7, 1.0) for at in range(101)]
    rows += [(50, "running", "feed", 1, 9_000, 9_000, 1, 0.0), (101, "evaluating", "parent", 1, 300, 290, 7, 9.0)]
    rows += [(60, "running", "worker", 1, 9_000, 9_000, 1, 0.0)]  # One of the two workers has just ended.
    rows.sort()
    file.write_text("\n".join(",".join(map(str, row)) for row in (COLUMNS, *rows)) + "\n")
    parent, worker = memory_of(samples_in(file))
    # Without the first fifth, in which the memory fell.
    assert (worker.role, worker.processes, worker.least_mb, worker.most_mb) == ("worker", 2, 440, 520)
    assert (round(worker.grown_mb, 6), round(worker.slope_mb_per_hour, 6)) == (80, 3600)
    assert (worker.cpu_share, worker.descriptors) == (0.25, (8, 10))
    assert (parent.role, parent.grown_mb, parent.until_the_end_mb) == ("parent", 0, 300)


def test_memory_that_grows_is_a_loss(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "ledger.jsonl").touch()
    told = {"status": 0, "ended_ns": 1, "ledger": "ledger.jsonl", "left": []}
    for most_mb, lost in ((90, False), (200, True)):
        rows = [(at, "running", "worker", 1, 60 + (most_mb - 60) * at / 10, 1, 1, 1) for at in range(11)]
        lines = [",".join(map(str, row)) for row in (COLUMNS, *rows)]
        (tmp_path / "memory.csv").write_text("\n".join(lines) + "\n")
        found = judged(place, "x", told, ((), ()))
        assert ("memory of worker grew" in found.lost_words) is lost


def test_kills_that_were_done_are_counted_by_process_and_phase_and_their_losses_told(tmp_path: Path) -> None:
    (tmp_path / "outcomes-1.txt").write_text("0: run, probing\n1: worker, running: 2 requests that had ended: x\n")
    (tmp_path / "outcomes-2.txt").write_text("0: run, probing\n1: no-feed, running\n2: run, report\n")
    (found,) = PARTS["kills"](Asked(tmp_path, minutes=None, requests=1, times=1, seed=1, again=True))
    assert found.often == "4: run 3 (probing 2, report 1); worker 1 (running 1)"
    assert found.lost_words == "1: 1: worker, running: 2 requests that had ended: x"
    assert found.lost


@pytest.mark.parametrize(
    ("kind", "told"),
    [("cgroup", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), ("cgroup2", "low 0\nmax 9\noom 4\noom_kill 3\n")],
)
def test_a_control_group_is_limited_and_says_how_many_the_kernel_has_killed(
    tmp_path: Path, kind: str, told: str
) -> None:
    version = VERSIONS[kind]
    (tmp_path / version.kills).write_text(told)
    (tmp_path / version.usage).write_text("5000\n")
    held = Group(tmp_path, version)
    assert (held.kills, held.tighten(200)) == (3, 5200)
    assert (tmp_path / version.limit).read_text() == "5200"
    held.path = tmp_path / "gone"
    assert not held.limit(1)


def test_what_is_said_of_a_process_that_was_killed_for_memory_is_found() -> None:
    assert SAID.findall(f"INVALID: worker 1 {death(-9)}: its share") == [f" worker 1 {death(-9)}"]
    assert SAID.findall(f"worker 1 {death(-15)}") == []


def test_the_script_lists_its_parts_and_fails_where_something_was_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hard-use", "--list"])
    assert hard_use.main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PARTS)
    monkeypatch.setitem(PARTS, "names", lambda _: [row("x", "1", []), row("y", "2", ["a", "b"])])
    monkeypatch.setattr(sys, "argv", ["hard-use", "names"])
    assert hard_use.main() == 1
    assert capsys.readouterr().out == "| x | 1 | nothing |\n| y | 2 | 2: a; b |\n"
