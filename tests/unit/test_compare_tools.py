"""scripts/compare-tools, without the other tools: how it reads the ledger and what the tools wrote, and what it prints."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.made_ledger import made_line
from tests.support.made_records import MS, made_record

SCRIPTS = Path(__file__).parents[2] / "scripts"


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
    """A ledger as a tool leaves it: something asked before the load, a refusal, and then n replies, last ones first."""
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


def test_the_truth_is_told_by_the_tool_s_definitions_and_by_ours(script: ModuleType) -> None:
    truth = script._truth(script._records(_lines(40), 40), script.LOADS["4"])
    ours, rust = (script._own(script.TOOLS[name], truth) for name in ("trueload", "vllm_rust"))
    assert ours["itl_ms"]["mean"] == pytest.approx(20)
    assert rust["itl_ms"]["mean"] == pytest.approx(40 / 3)  # The gap behind the role chunk is one of its three.
    assert rust["ttft_ms"] == ours["ttft_ms"]


def test_arrivals_have_a_rate_and_a_dispersion(script: ModuleType) -> None:
    even = script._arrivals([round(k * 1e8) for k in range(101)])
    assert even == {"arrived_rps": pytest.approx(10), "dispersion": 0}
    pairs = script._arrivals([round(k // 2 * 7e8) for k in range(200)])
    assert pairs["arrived_rps"] == pytest.approx(199 / 69.3)
    assert pairs["dispersion"] > 0.2


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
    assert list(WRITTEN) == list(script.TOOLS)


def _run(tool: str, **changes: Any) -> dict[str, Any]:
    numbers = {key: {"mean": 20.0, "p50": 20.0, "p99": 20.0} for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")}
    return {
        "tool": tool, "load": "poisson", "version": "1.2", "printed": numbers, "true": numbers, "true_ours": numbers,
        "succeeded": 400, "output_tokens": 51200, "true_requests": 400, "true_tokens": 51200, "cpu_s": 1.024, "wall_s": 25.0,
        "load_s": 20.0, "arrived_rps": 20.1, "dispersion": 1.0,
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
    assert "| aiperf 1.2 | 20.0 / 20.0 | +0.500 / +300 |" in said
    assert "| Trueload 1.2, INVALID |" in said
    assert "| guidellm 1.2 | 20.0 / 20.0 | +0.000 / +0.000 |" in said
    assert "| 20 | 5.0 s |" in said
    assert "| aiperf 1.2 | 20.10 | 1.00 |" in said
    assert "| guidellm 1.2 | TTFT | 20.000 | 20.000 | 10.000 |" in said
    assert "| guidellm 1.2 | requests | 399 | 400 | 400 |" in said
    assert "| aiperf 1.2 | TTFT" not in said


def test_a_tool_that_failed_is_named_and_shows_in_the_exit_status(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"tool": "aiperf", "load": "4", "problem": "it ended with status 1: no"}
    assert script.show({"date": "today", "machine": "here", "runs": [failed]}) == 1
    assert "it ended with status 1: no" in capsys.readouterr().out
