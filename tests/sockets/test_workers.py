"""Several worker processes form one load: records, secrets, the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench import cli
from bench.errors import Exit
from bench.process import child_process
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import records, summary, wait_for
from tests.support.timing import timing
from tests.support.worker_processes import PROGRAM, SMALL, flags, process

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running.url


def most_at_once(rows: Sequence[dict[str, Any]]) -> int:
    spans: list[tuple[int, int]] = [(row["sent_ns"], row["end_ns"]) for row in rows]
    return max(sum(a <= at < b for a, b in spans) for at, _ in spans)


# ---- One load ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--concurrency", "4"), ("--rate", "100")], ids=["users", "arrivals"])
@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_a_run_finds_the_end_of_its_warm_up_and_all_workers_measure_from_there(
    mock: str, tmp_path: Path, words: tuple[str, ...], workers: str
) -> None:
    files = ["requests.jsonl"] if workers == "1" else ["requests-0.jsonl", "requests-1.jsonl"]

    def all_measure() -> bool:
        paths = [tmp_path / "run" / name for name in files]
        return all(path.exists() and b'"phase":"run"' in path.read_bytes() for path in paths)

    more = ("--warmup", "auto", "--duration", "600s", "--workers", workers, "--quiet")
    with process(flags(mock, tmp_path, *words, *more)) as running:
        wait_for(lambda: all_measure() or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    manifest = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]
    assert manifest["warmup"]["whole"]
    ends_ns = manifest["start_ns"] + round(manifest["warmup"]["lasted_s"] * 1e9)
    rows = records(tmp_path)
    # A worker without a free processor hears of it late, and measures from then on.
    begun = {
        row.get("worker", 0): row["intended_ns"]
        for row in sorted(rows, key=lambda row: -row["intended_ns"])
        if row["phase"] == "run"
    }
    for row in rows:
        assert row["phase"] == ("warmup" if row["intended_ns"] < begun[row.get("worker", 0)] else "run"), row
    assert min(begun.values()) >= ends_ns
    assert {row.get("worker", 0) for row in rows if row["phase"] == "run"} == set(range(int(workers)))
    told = summary(tmp_path)
    assert told["counts"]["warmup"]["requests"] >= manifest["warmup"]["replies"] >= 1
    assert told["run"]["warmup"] == manifest["warmup"]
    assert "The run found its end after" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "warmup", "most"),
    [
        (("--concurrency", "5"), 3, 5),
        (("--rate", "150"), 3, None),
        (("--rate", "300", "--max-concurrency", "3"), 0, 3),
        (("--mode", "throughput", "--max-concurrency", "7"), 0, 7),
        (("--mode", "throughput"), 0, 40),
    ],
    ids=["concurrency", "rate", "rate with a cap", "throughput with a cap", "all at once"],
)
@pytest.mark.wall_clock
def test_two_workers_leave_one_record_of_one_load(
    mock: str, tmp_path: Path, words: tuple[str, ...], warmup: int, most: int | None
) -> None:
    more = ("--requests", "40", "--warmup", str(warmup), "--quiet")
    assert cli.main(flags(mock, tmp_path, *words, *more)) == Exit.GOOD
    rows = records(tmp_path)
    # A gap in the numbers would be a lost record; a repeated number, the same prompt sent twice.
    assert sorted(row["index"] for row in rows) == list(range(40 + warmup))
    assert len({row["id"] for row in rows}) == 40 + warmup
    assert Counter(row["phase"] for row in rows) == Counter({"run": 40, "warmup": warmup} if warmup else {"run": 40})
    assert {row["worker"] for row in rows} == {0, 1}
    assert all(row["index"] % 2 == row["worker"] for row in rows)
    # The lines are merged by time, not worker by worker. Each line is placed by the latest end that its worker had
    # written so far.
    latest = {0: 0, 1: 0}
    written = []
    for row in rows:
        latest[row["worker"]] = max(latest[row["worker"]], row["end_ns"])
        written.append(latest[row["worker"]])
    assert written == sorted(written)
    if most is not None:
        assert most_at_once(rows) <= most
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names - {"changes.jsonl"} == {
        "run.yaml",
        "requests.jsonl",
        "samples.jsonl",
        "live.jsonl",
        "server.jsonl",
        "summary.json",
        "report.html",
    }
    assert ("changes.jsonl" in names) == ("throughput" not in words)
    told = summary(tmp_path)
    assert told["counts"]["succeeded"] == 40
    assert told["instrument"]["workers"] == 2
    reasons = [reason for reason in told["verdict"]["reasons"] if "the cap set the rate" not in reason]
    assert reasons == []


def test_two_workers_send_the_arrivals_that_one_would(mock: str, tmp_path: Path) -> None:
    intended = []
    for out, workers in (("one", "1"), ("two", "2")):
        words = flags(mock, tmp_path, "--rate", "200", "--requests", "60", "--seed", "9", "--quiet")
        words[words.index("--out") + 1] = str(tmp_path / out)
        words[words.index("--workers") + 1] = workers
        assert cli.main(words) == Exit.GOOD
        lines = (tmp_path / out / "requests.jsonl").read_text().splitlines()
        rows = sorted((json.loads(line) for line in lines), key=lambda row: row["index"])
        intended.append([row["intended_ns"] - rows[0]["intended_ns"] for row in rows])
    assert intended[0] == intended[1]


def test_a_duration_ends_both_workers_and_fewer_arrivals_than_workers_are_no_trouble(mock: str, tmp_path: Path) -> None:
    words = ("--rate", "2", "--arrivals", "constant", "--duration", "300ms", "--workers", "3", "--quiet")
    assert cli.main(flags(mock, tmp_path, *words)) == Exit.GOOD
    assert [row["index"] for row in records(tmp_path)] == [0]


# ---- Secrets, and the truth ----------------------------------------------------------------------------------------


def test_no_secret_is_on_the_command_line_or_in_the_environment_of_a_worker(
    mock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc shows only what a process got at its start."""
    key, header = "sk-key-a1b2c3", "tenant-d4e5f6"
    shown: list[str] = []

    def started(command: Sequence[str], **settings: Any) -> subprocess.Popen[Any]:
        shown.append(f"{command} {dict(settings['env'] or os.environ)}")
        return popen(command, **settings)

    monkeypatch.setenv("TRUELOAD_MARK", "it is told")
    monkeypatch.setattr(child_process, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": started}))
    more = ("--api-key", key, "--header", f"X-Tenant: {header}", "--requests", "4", "--concurrency", "2", "--quiet")
    assert cli.main(flags(mock, tmp_path, *more)) == Exit.GOOD
    assert {row["worker"] for row in records(tmp_path)} == {0, 1}
    assert sum(PROGRAM.decode() in text for text in shown) == 2
    for text in shown:
        assert "'TRUELOAD_MARK': 'it is told'" in text
        assert key not in text
        assert header not in text


@timing(tries=10, why="the error of the median TTFT: 0.1 ms on a calm machine, 5 ms where others use its processors")
def test_two_workers_agree_with_the_ledger(tmp_path: Path) -> None:
    words = ["calibrate", "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run"), *SMALL]
    words += ["--requests", "60", "--concurrency", "8", "--mock", "--ttft 30ms --tpot 5ms", "--quiet", "--no-store"]
    assert cli.main(words) in (Exit.GOOD, Exit.INVALID)  # Other tests check the accuracy.
    certificate = summary(tmp_path)["calibration"]
    assert certificate["problems"] == []
    assert {row["worker"] for row in records(tmp_path)} == {0, 1}
    rows = {(row["metric"], row["stat"]): row for row in certificate["metrics"]}
    assert abs(rows["ttft_ms", "p50"]["error"]) < 5.0
