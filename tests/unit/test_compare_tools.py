"""scripts/compare-tools, without the other tools: how it reads the ledger and the tools' files, and what it prints."""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.made_ledger import made_line
from tests.support.made_records import MS, made_record

SCRIPTS = Path(__file__).parents[2] / "scripts"
DATA = Path(__file__).parents[1] / "data" / "compared"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    before = set(sys.modules)
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("compare_tools")
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("compare_tools", "compared"):
                del sys.modules[name]


def _lines(n: int) -> list[dict[str, Any]]:
    """A tool's ledger: a request before the load, a refusal, and then n replies in reverse order."""
    before = made_line(made_record(99, sent_ms=-500.0, chunks_ms=(5,), kinds="c"))
    probe = made_line(made_record(98, sent_ms=-400.0, chunks_ms=(5,), kinds="c"), id="probe-1")
    refused = made_line(made_record(97, sent_ms=-300.0, chunks_ms=(), kinds=""), status=400)
    times = (50, 50, 70, 90, 90, 90)
    replies = [made_line(made_record(i, sent_ms=i * 100.0, chunks_ms=times, kinds="rcccuo")) for i in range(n)]
    return [before, probe, refused, *reversed(replies)]


def test_the_load_is_what_came_last_in_the_order_of_arrival(script: ModuleType) -> None:
    records = script._records(_lines(5), 5)
    assert [record.index for record in records] == [0, 1, 2, 3, 4]
    assert [(r.sent_ns - records[0].sent_ns) / MS for r in records] == [0, 100, 200, 300, 400]
    assert {(r.chunk_kind, r.output_tokens, r.outcome) for r in records} == {("rcccuo", 3, "ok")}


def test_our_own_probe_is_no_part_of_a_load_that_came_short(script: ModuleType) -> None:
    assert [record.id for record in script._records(_lines(2), 5)] == ["made-99", "made-0", "made-1"]


def test_a_reply_that_was_cut_is_in_no_latency(script: ModuleType) -> None:
    lines = _lines(4)
    lines[-1]["engine"] = {"cut": "client_closed"}
    assert [record.outcome for record in script._records(lines, 4)] == ["interrupted", "ok", "ok", "ok"]


def test_what_a_tool_began_beyond_its_count_and_cut_is_none_of_its_load(script: ModuleType) -> None:
    lines = _lines(6)  # After the request before the load, the latest replies come first.
    for line in lines[3:5]:
        line["engine"] = {"cut": "client_closed"}
    assert [record.id for record in script._records(lines, 4)] == [f"made-{i}" for i in range(4)]
    assert {record.outcome for record in script._records(lines, 4)} == {"ok"}


def test_the_truth_is_told_by_the_tool_s_definitions_and_by_ours(script: ModuleType) -> None:
    truth = script._truth(script._records(_lines(40), 40), script.LOADS["4"])
    ours, guidellm = (script._own(script.TOOLS[name], truth) for name in ("trueload", "guidellm"))
    assert ours["tpot_ms"]["mean"] == pytest.approx(20)
    assert guidellm["tpot_ms"]["mean"] == pytest.approx(90 / 3, rel=1e-3)  # From the send to the last of three tokens.
    assert guidellm["ttft_ms"] == ours["ttft_ms"]


def test_arrivals_have_a_rate_a_dispersion_and_gaps(script: ModuleType) -> None:
    even = script.arrivals([round(k * 1e8) for k in range(101)])
    assert even["arrived_rps"] == pytest.approx(10)
    assert (even["dispersion"], even["gaps_cv"]) == (0, pytest.approx(0, abs=1e-9))
    assert even["gaps_distance"] == pytest.approx(1 - math.exp(-1))
    pairs = script.arrivals([round(k // 2 * 7e8) for k in range(200)])
    assert pairs["arrived_rps"] == pytest.approx(199 / 69.3)
    assert pairs["dispersion"] > 0.2
    assert pairs["gaps_cv"] > 0.9


def test_gaps_at_the_quantiles_of_an_exponential_are_poisson_s(script: ModuleType) -> None:
    gaps = [-math.log(1 - (k + 0.5) / 400) for k in range(400)]
    at, times = 0.0, [0]
    for gap in gaps:
        at += gap
        times.append(round(at * 1e9))
    found = script.arrivals(times)
    assert found["gaps_distance"] < 0.005
    assert found["gaps_cv"] == pytest.approx(1, abs=0.03)


def test_one_arrival_tells_nothing(script: ModuleType) -> None:
    assert set(script.arrivals([5]).values()) == {None}


WRITTEN: dict[str, dict[str, Any]] = {
    "trueload": {
        "run/summary.json": {
            "counts": {"succeeded": 7},
            "tokens": {"output": 70},
            "verdict": {"status": "SUSPECT"},
            "latency": {
                key: {"mean": 1 + k, "p50": 2 + k, "p99": 3 + k}
                for k, key in enumerate(("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms"))
            },
        }
    },
    "vllm_rust": {
        "vllm.json": {"completed": 7, "total_output_tokens": 70}
        | {
            f"{stat}_{name}_ms": value + k
            for k, name in enumerate(("ttft", "e2el", "tpot", "itl"))
            for stat, value in (("mean", 1), ("median", 2), ("p99", 3))
        }
    },
    "aiperf": {
        "profile_export_aiperf.json": {
            "request_count": {"avg": 7.0},
            "total_osl": {"avg": 70.0},
            "time_to_first_token": {"avg": 1, "p50": 2, "p99": 3},
            "request_latency": {"avg": 2, "p50": 3, "p99": 4},
            "inter_token_latency": {"avg": 3, "p50": 4, "p99": 5},
        }
    },
    "guidellm": {
        "guidellm.json": {
            "benchmarks": [
                {
                    "metrics": {
                        "request_totals": {"successful": 7},
                        "output_token_count": {"successful": {"total_sum": 70.0}},
                    }
                    | {
                        name: {"successful": {"mean": 1 * k, "median": 2 * k, "percentiles": {"p99": 3 * k}}}
                        for name, k in (
                            ("time_to_first_token_ms", 1),
                            ("request_latency", 0.001),
                            ("time_per_output_token_ms", 1),
                            ("inter_token_latency_ms", 1),
                        )
                    }
                }
            ]
        }
    },
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_tool_wrote_is_read(script: ModuleType, name: str, tmp_path: Path) -> None:
    for file, content in WRITTEN[name].items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(content))
    printed = script.TOOLS[name].read(tmp_path)
    assert (printed.succeeded, printed.output_tokens) == (7, 70)
    assert printed.numbers["ttft_ms"] == {"mean": 1, "p50": 2, "p99": 3}
    e2el = {"mean": 1, "p50": 2, "p99": 3} if name == "guidellm" else {"mean": 2, "p50": 3, "p99": 4}
    assert printed.numbers["e2el_ms"] == pytest.approx(e2el)
    assert printed.says == ("SUSPECT" if name == "trueload" else "")


CAPTURED: dict[str, dict[str, tuple[float, float, float]]] = {
    "vllm_python": {
        "ttft_ms": (58.831371, 55.091201, 86.853335),
        "tpot_ms": (20.014786, 20.007345, 20.128176),
        "itl_ms": (20.014786, 19.985012, 109.876626),
        "e2el_ms": (2600.709146, 2599.901477, 2611.45439),
    },
    "evalscope": {
        "ttft_ms": (71.95, 70.0733, 107.2661),
        "e2el_ms": (2628.6, 2631.0, 2647.2),
        "tpot_ms": (20.13, 20.2115, 20.2573),
        "itl_ms": (20.13, 19.9869, 95.5554),
    },
    "genai_bench": {
        "ttft_ms": (66.629875, 57.846297, 132.688488),
        "e2el_ms": (2610.45205, 2600.851326, 2681.295173),
        "tpot_ms": (20.030096, 20.015148, 20.080448),
    },
    "locust": {
        "ttft_ms": (53.0, 53.0, 63.0),
        "e2el_ms": (2593.0, 2600.0, 2600.0),
        "tpot_ms": (20.0, 20.0, 20.0),
    },
    "sglang_rust": {
        "ttft_ms": (50.297931, 50.254039, 51.076973),
        "tpot_ms": (20.001813, 20.000617, 20.00662),
        "itl_ms": (20.00149, 19.9999, 23.41768),
        "e2el_ms": (2590.528218, 2590.520143, 2591.126934),
    },
    "sglang": {
        "ttft_ms": (51.891264, 52.21595, 54.97398),
        "tpot_ms": (20.005164, 20.001207, 20.035329),
        "itl_ms": (20.005096, 19.999259, 24.40352),
        "e2el_ms": (2592.547049, 2592.487503, 2596.793971),
    },
}
"""Mean, p50 and p99 in tests/data/compared/: each tool's result for 20 chats with our mock, without lists of single
requests."""


@pytest.mark.parametrize("name", CAPTURED)
def test_what_a_tool_really_wrote_is_read(script: ModuleType, name: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / name, tmp_path / "run")
    printed = script.TOOLS[name].read(tmp_path / "run")
    assert (printed.succeeded, printed.output_tokens) == (20, 2560)  # 20 requests of 128 tokens, 4 at a time.
    assert {key: list(values.values()) for key, values in printed.numbers.items()} == {
        key: pytest.approx(list(values)) for key, values in CAPTURED[name].items()
    }
    assert all(list(values) == ["mean", "p50", "p99"] for values in printed.numbers.values())
    # The mock had a TTFT of 50 ms and a token every 20 ms, so this checks the unit and the meaning of each number.
    assert 50 <= printed.numbers["ttft_ms"]["p50"] < 75
    assert 19 < printed.numbers["tpot_ms"]["p50"] < 23
    assert 2580 < printed.numbers["e2el_ms"]["p50"] < 2900


def test_every_reader_is_tested(script: ModuleType) -> None:
    assert set(WRITTEN) | set(CAPTURED) == set(script.TOOLS)
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == set(CAPTURED)


def _run(tool: str, **changes: Any) -> dict[str, Any]:
    numbers = {key: {"mean": 20.0, "p50": 20.0, "p99": 20.0} for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")}
    return {
        "tool": tool, "load": "poisson", "version": "1.2", "printed": numbers, "true": numbers, "true_ours": numbers,
        "succeeded": 400, "output_tokens": 51200, "true_requests": 400, "true_tokens": 51200, "cpu_s": 1.024, "wall_s": 25.0,
        "load_s": 20.0, "arrived_rps": 20.1, "dispersion": 1.0,
        "peak_mib": 64.0, "start_s": 0.5, "end_s": 0.25, "gaps_cv": 0.98, "gaps_distance": 0.04,
    } | changes  # fmt: skip


def test_errors_are_by_the_tool_s_definition_and_differences_are_told_apart(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {key: {"mean": 21.0, "p50": 20.5, "p99": 320.0} for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")}
    other = {key: {"mean": 10.0, "p50": 10.0, "p99": 10.0} for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")}
    runs = [
        _run("trueload", says="INVALID"),
        _run("aiperf", printed=late),
        _run("guidellm", true_ours=other, succeeded=399),
    ]
    assert script.show({"date": "today", "machine": "here", "runs": runs}) == 0
    said = capsys.readouterr().out
    tables = [line for line in said.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables[:5]} == {tables[0].count("|")}
    assert "| aiperf 1.2 | 20 | 64 | 0.50 | 0.25 | 5.0 |" in said
    assert "| aiperf 1.2 | 20.0 / 20.0 | +0.500 / +300 |" in said
    assert "| Trueload 1.2, INVALID |" in said
    assert "| guidellm 1.2 | 20.0 / 20.0 | +0.000 / +0.000 |" in said
    assert "| aiperf 1.2 | 20.10 | 1.00 | 0.98 | 0.04 |" in said
    assert "| guidellm 1.2 | TTFT | 20.000 | 20.000 | 10.000 |" in said
    assert "| guidellm 1.2 | requests | 399 | 400 | 400 |" in said
    assert "| aiperf 1.2 | TTFT" not in said


@pytest.mark.processes
def test_memory_is_of_a_command_and_all_that_it_started(script: ModuleType) -> None:
    resident_bytes = importlib.import_module("compared.memory").resident_bytes
    alone = resident_bytes(os.getpid())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert alone > 0.8 * pages * os.sysconf("SC_PAGE_SIZE")
    with subprocess.Popen(["sh", "-c", "cat; exit"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"x")
        shell.stdin.flush()
        assert shell.stdout.read(1) == b"x"  # By now `cat` is running.
        both, one = resident_bytes(shell.pid), Path(f"/proc/{shell.pid}/statm").read_text().split()[1]
        assert both > int(one) * os.sysconf("SC_PAGE_SIZE")
        shell.stdin.close()
        shell.wait()
        assert resident_bytes(shell.pid) == 0


def test_only_the_named_files_of_a_wheel_are_kept_and_fetched_once(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = importlib.import_module("compared.tool")
    fetched: list[str] = []

    def download(command: list[Any], check: bool) -> None:
        assert check
        fetched.append(str(command[command.index("--dest") - 1]))
        with zipfile.ZipFile(Path(command[-1]) / "some-1.whl", "w") as wheel:
            for name in ("some/client/send.py", "some/client/lib/time.py", "some/__init__.py", "some/engine.py"):
                wheel.writestr(name, name)

    monkeypatch.setattr(tool.subprocess, "run", download)
    for _ in range(2):
        tool.keep_of_wheel(tmp_path / "in", "some==1", "some/client/*")
    assert fetched == ["some==1"]
    files = {str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert files == {"kept", "some/client/send.py", "some/client/lib/time.py"}
    with pytest.raises(SystemExit, match=r"some==2: its wheel has no some/gone\.py"):
        tool.keep_of_wheel(tmp_path / "in", "some==2", "some/gone.py")


def test_several_runs_are_shown_as_medians_of_their_errors(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(p50: float) -> dict[str, dict[str, float]]:
        return {"ttft_ms": {"mean": p50, "p50": p50, "p99": p50}}

    runs = [
        _run("aiperf", turn=turn, printed=printed(p50), true=printed(true), cpu_s=cpu_s)
        for turn, (p50, true, cpu_s) in enumerate(((60, 50, 0.512), (53, 52, 1.024), (49, 48, 5.12)))
    ]
    assert script.show({"date": "today", "machine": "here", "runs": runs}) == 0
    said = capsys.readouterr().out
    assert "medians of 3 runs" in said
    # The difference of the medians: 53 - 50.
    assert "| aiperf 1.2 | 50.0 / 50.0 | +1.0 / +1.0 | – / – | – / – | – / – |" in said
    assert "| aiperf 1.2 | 20 | 64 |" in said


def test_a_load_that_a_tool_cannot_send_is_named_and_no_failure(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    closed, opened = script.LOADS["4"], script.LOADS["poisson"]
    for name in ("locust", "genai_bench"):
        assert script.TOOLS[name].cannot(closed) == ""
        assert "no open loop" in script.TOOLS[name].cannot(opened)
    run = {"tool": "locust", "load": "poisson", **script.measure("locust", opened)}
    assert script.show({"date": "today", "machine": "here", "runs": [run], "installed_mb": {"locust": 61.4}}) == 0
    said = capsys.readouterr().out
    assert "| no open loop: a user waits for its reply |" in said
    assert "| 61 | with a script of ours" in said


def test_one_failed_run_of_several_is_said_in_place_of_the_others(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [_run("aiperf"), {"tool": "aiperf", "load": "poisson", "turn": 1, "problem": "it ended with status 9"}]
    assert script.show({"date": "today", "machine": "here", "runs": runs}) == 1
    assert "| aiperf 1.2 | it ended with status 9 |" in capsys.readouterr().out


def test_every_tool_has_a_command_for_each_load_that_it_can_send(script: ModuleType, tmp_path: Path) -> None:
    place_type = importlib.import_module("compared").Place
    place = place_type(*(tmp_path / name for name in place_type.__dataclass_fields__))
    for name, tool in script.TOOLS.items():
        for load in script.LOADS.values():
            if tool.cannot(load):
                continue
            command = [str(word) for word in tool.command(load, "http://127.0.0.1:1", place)]
            assert any("127.0.0.1:1" in word for word in command), name
            asked = str(load.streams) if load.rate is None else str(load.rate)
            assert any(word == asked or word.endswith(f"={asked}") for word in command), (name, load.title)


def test_the_size_of_what_is_installed_counts_files_and_no_link_twice(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to(tmp_path / "in" / "file")
    size = script.TOOLS["aiperf"].size(tmp_path)
    assert 1000 < size < 1500  # A link takes as much space as its name.


def test_a_tool_that_failed_is_named_and_shows_in_the_exit_status(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"tool": "aiperf", "load": "4", "problem": "it ended with status 1: no"}
    assert script.show({"date": "today", "machine": "here", "runs": [failed]}) == 1
    assert "it ended with status 1: no" in capsys.readouterr().out


def test_everything_wrong_with_the_flags_is_said_at_once(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare-tools", "--tools", "aiperf,ab", "--loads", "none", "--runs", "0"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--tools: ab: there are trueload, " in said
    assert "--loads: none: there are " in said
    assert "--runs: 0: at least 1" in said
