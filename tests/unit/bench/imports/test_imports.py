"""Results written by other load testers (of loads on the mock), read into run directories."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.comparison.sides import read_sides
from bench.errors import Exit, UsageError
from bench.evaluate import Result, evaluate
from bench.imports import TOOLS
from bench.imports.foreign import ONE_GAP, SPREAD, ForeignRequest, read_file, spread
from bench.imports.run import START_NS, make_run
from bench.records import Outcome

RESULTS = Path(__file__).parent / "results"
BESIDE = ("profile_export_aiperf.json", "experiment_metadata.json")
"""Files that only add details about the load."""
FILES = {
    tool: [
        path
        for path in sorted(RESULTS.rglob("*.json*"))
        if str(path.relative_to(RESULTS)).startswith(tool) and path.name not in BESIDE
    ]
    for tool in TOOLS
}


def name_of(path: Path) -> str:
    return str(path.relative_to(RESULTS))


def imported(path: Path, out: Path) -> Result:
    file = read_file(path)
    (tool,) = (tool for tool in TOOLS.values() if tool.recognizes(file))
    (run,) = tool.read(file)
    return evaluate(make_run(run, out, path, tool.title, ("bench", "import", str(path))))


def test_every_tool_has_a_file_that_it_wrote_and_only_it_recognizes_it() -> None:
    assert all(FILES.values())
    for tool, paths in FILES.items():
        for path in paths:
            assert [name for name, other in TOOLS.items() if other.recognizes(read_file(path))] == [tool]


@pytest.mark.parametrize("path", [path for paths in FILES.values() for path in paths], ids=name_of)
def test_an_imported_run_is_suspect_and_its_files_are_those_of_a_run(path: Path, tmp_path: Path) -> None:
    result = imported(path, tmp_path / "run")
    assert result.verdict.status == "SUSPECT"
    assert result.verdict.signs[0] == "imported"
    assert result.summary.counts.sent == (10 if "genai" in name_of(path) else 8)
    again = evaluate(result.directory)
    assert again.summary == result.summary
    records = [*result.directory.records()]
    assert min(record.intended_ns for record in records) == START_NS
    assert all(record.end_ns >= (record.sent_ns or 0) >= record.intended_ns for record in records)
    tokens = 128 if "guidellm" in name_of(path) else 6
    assert all(record.output_tokens == tokens for record in records if record.outcome is Outcome.OK)
    failed = [record for record in records if record.outcome is not Outcome.OK]
    assert bool(failed) is ("errors" in name_of(path))
    assert all(record.error and not record.chunk_ns for record in failed)


def printed(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text().splitlines()[-1])
    return content


@pytest.mark.parametrize("path", FILES["vllm"] + FILES["sglang"], ids=name_of)
def test_the_numbers_are_those_that_vllm_and_sglang_print(path: Path, tmp_path: Path) -> None:
    said, result = printed(path), imported(path, tmp_path / "run")
    latency = result.summary.latency
    e2el = "e2el" if "vllm" in path.name else "e2e_latency"
    for ours, theirs in (("ttft_ms", "ttft"), ("tpot_ms", "tpot"), ("e2el_ms", e2el)):
        for stat, word in (("mean", "mean"), ("p50", "median"), ("p99", "p99")):
            assert latency[ours].of(stat) == pytest.approx(said[f"{word}_{theirs}_ms"], rel=1e-3), (ours, stat)
    assert result.summary.throughput.requests_per_s == pytest.approx(said["request_throughput"], rel=0.15)
    has_starts = "vllm" in path.name
    assert (SPREAD in result.verdict.reasons) is not has_starts
    assert result.summary.run.mode == ("rate" if "rate" in path.name else "concurrency")


@pytest.mark.parametrize("path", FILES["aiperf"], ids=name_of)
def test_the_numbers_are_those_that_aiperf_prints(path: Path, tmp_path: Path) -> None:
    said, result = (
        json.loads((path.parent / "profile_export_aiperf.json").read_text()),
        imported(path, tmp_path / "run"),
    )
    summary = result.summary
    names = {"ttft_ms": "time_to_first_token", "e2el_ms": "request_latency", "tpot_ms": "inter_token_latency"}
    for ours, theirs in names.items():
        for stat, word in (("mean", "avg"), ("p50", "p50"), ("p99", "p99"), ("min", "min"), ("max", "max")):
            assert summary.latency[ours].of(stat) == pytest.approx(said[theirs][word], rel=1e-3, abs=0.01), (ours, stat)
    assert (result.verdict.signs, summary.run.model) == (["imported"], "mock-model")
    assert summary.run.url == said["input_config"]["endpoint"]["urls"][0]
    assert "aiperf 0.13.0" in result.verdict.reasons[0]
    assert summary.run.config.get("rate") == (20.0 if "rate" in name_of(path) else None)


def test_without_its_file_of_totals_aiperf_names_no_model(tmp_path: Path) -> None:
    alone = tmp_path / "profile_export.jsonl"
    alone.write_bytes(FILES["aiperf"][0].read_bytes())
    result = imported(alone, tmp_path / "run")
    assert (result.summary.run.model, result.summary.run.mode) == (None, "throughput")


@pytest.mark.parametrize("path", FILES["guidellm"], ids=name_of)
def test_the_numbers_are_those_that_guidellm_prints(path: Path, tmp_path: Path) -> None:
    said, result = printed(path)["benchmarks"][0]["metrics"], imported(path, tmp_path / "run")
    latency = result.summary.latency
    assert latency["ttft_ms"].mean == pytest.approx(said["time_to_first_token_ms"]["successful"]["mean"], rel=1e-3)
    # guidellm's ends with the stream, a few ms after the last token.
    assert latency["e2el_ms"].mean == pytest.approx(1e3 * said["request_latency"]["successful"]["mean"], rel=1e-2)
    assert ONE_GAP in result.verdict.reasons


@pytest.mark.parametrize("path", FILES["genai-bench"], ids=name_of)
def test_the_numbers_are_those_that_genai_bench_prints(path: Path, tmp_path: Path) -> None:
    said, result = printed(path)["aggregated_metrics"], imported(path, tmp_path / "run")
    for ours, theirs in (("ttft_ms", "ttft"), ("e2el_ms", "e2e_latency"), ("tpot_ms", "tpot")):
        for stat in ("mean", "p50", "p90", "p99"):
            assert result.summary.latency[ours].of(stat) == pytest.approx(said["stats"][theirs][stat], rel=1e-3)
    assert {SPREAD, ONE_GAP} <= {*result.verdict.reasons}
    assert result.summary.run.config["concurrency"] == 2


def test_starts_that_are_not_in_the_file_leave_the_mean_in_flight_as_it_was() -> None:
    rows = [ForeignRequest(latency_s=latency, ttft_s=None) for latency in (1.0, 3.0, 2.0)]
    assert [row.sent_s for row in spread(rows, 6.0)] == [0.0, 2.0, 4.0]
    assert [row.sent_s for row in spread(rows, 1.0)] == [0.0, 0.0, 0.0]
    assert spread([], 1.0) == []
    # All at once, in no order: the last to end, not the last of the file, ends at the end.
    at_once = spread([ForeignRequest(latency_s=latency, ttft_s=None) for latency in (9.0, 1.0, 10.0, 4.0)], 10.0)
    assert [row.sent_s for row in at_once] == [0.0] * 4


def test_an_import_twice_is_one_run_and_differs_from_another(tmp_path: Path) -> None:
    first, other, *_ = FILES["vllm"]
    for path, name in ((first, "a"), (first, "b"), (other, "c")):
        imported(path, tmp_path / name)
    with pytest.raises(UsageError, match="is a copy of"):
        read_sides([tmp_path / "a", tmp_path / "b"])
    assert [side.runs[0].status for side in read_sides([tmp_path / "a", tmp_path / "c"])] == ["SUSPECT", "SUSPECT"]


def test_a_file_of_several_runs_makes_a_directory_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = tmp_path / "several.jsonl"
    several.write_text("".join(path.read_text() for path in FILES["sglang"]))
    assert main(["import", str(several), "--out", str(tmp_path / "runs"), "--quiet"]) == Exit.GOOD
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["1", "2", "3"]
    printed_lines = capsys.readouterr()
    assert printed_lines.out.count("imported from SGLang bench_serving: its error is unknown") == 3
    assert printed_lines.err.splitlines() == [str(tmp_path / "runs" / name) for name in "123"]
    assert main(["import", str(several), "--out", str(tmp_path / "runs"), "--quiet"]) == Exit.USAGE
    assert "already holds a run" in capsys.readouterr().err
    # Nothing is made if one of the directories is used, whichever it is.
    made_before = tmp_path / "again" / "3"
    made_before.mkdir(parents=True)
    (made_before / "run.yaml").write_text("x")
    assert main(["import", str(several), "--out", str(tmp_path / "again"), "--quiet"]) == Exit.USAGE
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["3"]


def test_a_file_of_one_run_makes_one_directory_and_names_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = FILES["sglang"][0]
    assert main(["import", str(path), "--out", str(tmp_path / "run"), "--quiet"]) == Exit.GOOD
    assert (capsys.readouterr().err, (tmp_path / "run" / "report.html").is_file()) == ("", True)
    assert main(["import", str(path)]) == Exit.USAGE
    assert "--out" in capsys.readouterr().err


def test_a_run_without_requests_does_not_keep_back_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = printed(RESULTS / "guidellm-closed.json")["benchmarks"]
    several = tmp_path / "several.json"
    several.write_text(changed("guidellm-closed.json", benchmarks=[run, {**run, "requests": {}}, run]))
    assert main(["import", str(several), "--out", str(tmp_path / "runs"), "--quiet"]) == Exit.GOOD
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["1", "3"]
    assert f"{tmp_path / 'runs' / '2'} is left out: it has no requests" in capsys.readouterr().err


def changed(name: str, **values: object) -> str:
    content = printed(RESULTS / name) | values
    return json.dumps({key: value for key, value in content.items() if value != "gone"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not a result of vllm bench serve"),
        ("{", "is not a result file: it is not JSON"),
        ('{"a": 1}\n{"b": ', "is not a result file: line 2 is not JSON"),
        ("[1, 2]", "is not a result of vllm bench serve, SGLang bench_serving"),
        ('{"a": 1}', "is not a result of vllm bench serve"),
        ("[" * 100_000, "is not a result file"),
        (changed("vllm-closed.json", ttfts="gone"), "has no single requests: run vllm bench serve with --save-result"),
        (changed("vllm-closed.json", ttfts=[0.1]), "is damaged: its arrays have different lengths"),
        (changed("vllm-closed.json", start_times=[0.1]), "is damaged: its arrays have different lengths"),
        (changed("vllm-closed.json", ttfts=["a"] * 8), r"Expected `float`, got `str` - at `\$.ttfts\[0\]`"),
        (changed("vllm-closed.json", ttfts=[0.1] * 7 + [-1]), "request 8: it has a time of -1.0 s"),
        (changed("vllm-closed.json", start_times=[1e300] + [1] * 7), r"request 1: it began at 1e\+300 s"),
        (changed("vllm-closed.json", output_lens=[6, -1] + [6] * 6), "request 2: it has -1 tokens"),
        ((RESULTS / "aiperf-rate/profile_export_aiperf.json").read_text(), "has no single requests: run aiperf with"),
        (
            changed("aiperf-closed/profile_export.jsonl", metadata={}),
            "line 1: Object missing required field `request_start_ns`",
        ),
        (
            changed("guidellm-closed.json", benchmarks=[{}]),
            r"missing required field `requests` - at `\$.benchmarks\[0\]`",
        ),
        (changed("guidellm-closed.json", benchmarks=[]), "has no runs"),
        (json.dumps({"individual_request_metrics": []}), "missing required field `aggregated_metrics`"),
        (changed("sglang-closed.jsonl", itls="gone", ttfts="gone"), "run sglang.bench_serving with --output-details"),
        (
            json.dumps({"total_output_tokens_retokenized": 1, "request_throughput": 2}),
            "run sglang.bench_serving with --output-details",
        ),
        (changed("sglang-closed.jsonl", errors=None), r", line 1: Expected `array`, got `null` - at `\$.errors`"),
        (
            changed(
                "vllm-closed.json",
                **dict.fromkeys(
                    ("ttfts", "itls", "input_lens", "output_lens", "errors", "latencies", "start_times"), ()
                ),
            ),
            "has no requests",
        ),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(
    content: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    assert main(["import", str(path), "--out", str(tmp_path / "run")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith(f"error: {path}")
    assert re.search(problem, said), said
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path / "none.json"), "--out", str(tmp_path / "run")]) == Exit.USAGE
    assert "none.json cannot be read: No such file" in capsys.readouterr().err
