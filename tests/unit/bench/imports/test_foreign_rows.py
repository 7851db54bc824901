"""What each value in another tool's file becomes: requests, loads and records, computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import manifest
from bench.clock import NS_PER_S
from bench.errors import UsageError
from bench.imports import TOOLS
from bench.imports.foreign import ONE_GAP, SPREAD, ForeignRequest, ForeignRun, iso_time, read_file
from bench.imports.run import START_NS, UNKNOWN_URL, make_run
from bench.records import Outcome, RequestRecord


def read(tool: str, folder: Path, *rows: Any, name: str = "result.json", **beside: Any) -> ForeignRun:
    """The run read from a file with these documents, with other files next to it, by stem."""
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    for stem, content in beside.items():
        (folder / f"{stem}.json").write_text(json.dumps(content))
    file = read_file(folder / name)
    assert TOOLS[tool].recognizes(file)
    (run,) = TOOLS[tool].read(file)
    return run


def made(run: ForeignRun, folder: Path) -> tuple[list[RequestRecord], Any]:
    """The records of an imported run, in seconds since the first, and its manifest with its configuration."""
    source = folder / "source.json"
    source.write_text("{}")
    directory = make_run(run, folder / "run", source, "a tool", ("bench", "import"))
    return [*directory.records()], manifest.read(directory)


def seconds(ns: int | None) -> float | None:
    return None if ns is None else (ns - START_NS) / NS_PER_S


def request(**values: Any) -> ForeignRequest:
    return ForeignRequest(**{"latency_s": None, "ttft_s": None, "sent_s": 0.0, **values})


# ---- Records -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "chunks", "tokens", "end"),
    [
        ({}, [], None, 0),
        ({"latency_s": 2.0}, [], None, 2),
        ({"latency_s": 2.0, "ttft_s": 0.5}, [0.5], None, 2),
        ({"latency_s": 2.0, "ttft_s": 0.5, "output_tokens": 0}, [0.5], None, 2),
        ({"latency_s": 2.0, "ttft_s": 0.5, "output_tokens": 1}, [0.5], (1,), 2),
        # The first token has its own time, all others have the time of the end.
        ({"latency_s": 2.0, "ttft_s": 0.5, "output_tokens": 4}, [0.5, 2.0], (1, 3), 2),
        ({"latency_s": 2.0, "ttft_s": 2.0, "output_tokens": 4}, [2.0, 2.0], (1, 3), 2),
        ({"latency_s": 0.25, "ttft_s": 0.5, "output_tokens": 4}, [0.5], (4,), 0.5),
        ({"ttft_s": 0.5, "output_tokens": 4}, [0.5], (4,), 0.5),
        ({"latency_s": 2.0, "ttft_s": 0.5, "gaps_s": [0.25, 0.5], "output_tokens": 3}, [0.5, 0.75, 1.25], (1, 1, 1), 2),
        ({"latency_s": 1.0, "ttft_s": 0.5, "gaps_s": [0.25, 0.5], "output_tokens": 4}, [0.5, 0.75, 1.25], None, 1.25),
    ],
)
def test_a_record_has_the_chunks_that_the_file_tells(
    values: dict[str, Any], chunks: list[float], tokens: tuple[int, ...] | None, end: float, tmp_path: Path
) -> None:
    (record,), _ = made(ForeignRun(requests=[request(**values)]), tmp_path)
    assert [seconds(at) for at in record.chunk_ns] == chunks
    assert (record.chunk_tokens, record.chunk_kind) == (tokens, "c" * len(chunks))
    assert seconds(record.first_byte_ns) == (chunks[0] if chunks else None)
    assert seconds(record.end_ns) == end
    assert record.output_tokens_from == (None if values.get("output_tokens") is None else "usage")


def test_records_are_in_the_order_of_their_starts_and_count_from_the_first(tmp_path: Path) -> None:
    rows = [
        request(sent_s=105.0, due_s=103.0, latency_s=1.0),
        request(sent_s=102.0, due_s=104.0, outcome=Outcome.HTTP_ERROR, status=503, error="busy"),
        request(sent_s=None, outcome=Outcome.STREAM_ERROR, error="no start"),
        request(sent_s=101.0, warmup=True, input_tokens=7, output_tokens=5),
    ]
    records, kept = made(ForeignRun(requests=rows), tmp_path)
    assert [(record.id, record.index, record.error) for record in records] == [
        ("imported-0", 0, "no start"), ("imported-1", 1, None), ("imported-2", 2, "busy"), ("imported-3", 3, None),
    ]  # fmt: skip
    # By its client's clocks, one request was sent before it was due. Then the send counts as its due time.
    assert [(seconds(r.intended_ns), seconds(r.eligible_ns), seconds(r.sent_ns), seconds(r.end_ns)) for r in records] == [
        (0, 0, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 4, 5),
    ]  # fmt: skip
    assert [record.phase for record in records] == ["run", "warmup", "run", "run"]
    assert [(record.status, record.outcome) for record in records[1:3]] == [
        (None, Outcome.OK),
        (503, Outcome.HTTP_ERROR),
    ]
    assert (records[1].input_tokens, records[1].output_tokens, records[1].attempts) == (7, 5, 1)
    of_run = kept.manifest
    assert (of_run.planned, of_run.start_ns, of_run.run_start_ns) == (3, START_NS, START_NS)
    assert kept.config.requests == 3


def test_a_run_says_what_it_is_of(tmp_path: Path) -> None:
    rows = [
        request(input_tokens=10, output_tokens=0, sent_s=2.0),
        request(input_tokens=13, sent_s=1.5),
        request(warmup=True, sent_s=0.5),
    ]
    run = ForeignRun(
        requests=rows, started="2026-11-24T10:00:00", version="9", model="m", url="http://h:1", lacks=("x",)
    )
    _, kept = made(run, tmp_path)
    of_run, config = kept.manifest, kept.config
    assert (of_run.start_ns, of_run.run_start_ns) == (START_NS, START_NS + NS_PER_S)  # Without the warm-up.
    assert (of_run.started, of_run.ended, of_run.model) == ("2026-11-24T10:00:00", "2026-11-24T10:00:00", "m")
    assert of_run.imported == manifest.ImportedFrom(tool="a tool", version="9", file="source.json", lacks=("x",))
    assert (of_run.stop_reason, of_run.exact_lengths, of_run.command) == ("requests", False, ("bench", "import"))
    assert of_run.run_id.startswith("imported-")
    assert len(of_run.run_id) == len("imported-") + 8
    assert (config.url, config.name, config.endpoint, config.requests) == ("http://h:1", "imported", "chat", 2)
    assert (config.mode, config.input_tokens, config.model) == ("throughput", "12", "m")  # The mean is 11.5 tokens.
    assert config.output_tokens != "0"


@pytest.mark.parametrize(
    ("load", "settings"),
    [
        ({}, ("throughput", None, None, None)),
        ({"concurrency": 2}, ("concurrency", 2, None, None)),
        ({"concurrency": 9}, ("concurrency", 3, None, None)),  # Concurrency cannot exceed the number of requests.
        ({"rate": 2.5}, ("rate", None, 2.5, None)),
        ({"rate": 2.5, "concurrency": 9}, ("rate", None, 2.5, 9)),
    ],
)
def test_the_load_is_in_our_words(load: dict[str, Any], settings: tuple[Any, ...], tmp_path: Path) -> None:
    _, kept = made(ForeignRun(requests=[request()] * 3, **load), tmp_path)
    config = kept.config
    assert (config.mode, config.concurrency, config.rate, config.max_concurrency) == settings
    assert (config.url, kept.manifest.model) == (UNKNOWN_URL, None)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"sent_s": 1e10}, "it began at 10000000000.0 s"),
        ({"sent_s": -1e10}, "it began at -10000000000.0 s"),
        ({"due_s": float("nan")}, "it began at nan s"),
        ({"latency_s": -0.5}, "it has a time of -0.5 s"),
        ({"ttft_s": 1e10}, "it has a time of 10000000000.0 s"),
        ({"gaps_s": [0.0, -1.0]}, "it has a time of -1.0 s"),
        ({"input_tokens": -1}, "it has -1 tokens"),
        ({"output_tokens": 1 << 62}, f"it has {1 << 62} tokens"),
    ],
)
def test_what_no_client_can_have_measured_is_refused(values: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"source.json: request 2: {problem}$"):
        made(ForeignRun(requests=[request(latency_s=0.0, input_tokens=0), request(**values)]), tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("last", "load", "problem"),
    [
        ({"sent_s": 9e9}, {}, r"it has a request that ends 9e\+09 s after the first began: no load is so long"),
        ({"gaps_s": [9e8] * 9, "ttft_s": 0.0}, {}, r"it has a request that ends 8.1e\+09 s after the first began"),
        ({}, {"concurrency": 0}, "--concurrency: must be at least 1"),
        ({}, {"rate": float("nan")}, "--rate: must be more than 0"),
        ({}, {"url": "ftp://h"}, "--url: 'ftp://h' does not begin with http"),
    ],
)
def test_a_load_that_cannot_be_ours_leaves_no_directory(
    last: dict[str, Any], load: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"source.json: {problem}"):
        made(ForeignRun(requests=[request(), request(**last)], **load), tmp_path)
    assert not (tmp_path / "run").exists()


def test_an_address_without_a_scheme_is_one_of_http(tmp_path: Path) -> None:
    _, kept = made(ForeignRun(requests=[request()], url="localhost:8000"), tmp_path)
    assert kept.config.url == "http://localhost:8000"


def test_of_many_problems_ten_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        made(ForeignRun(requests=[request(latency_s=-1.0)] * 12), tmp_path)
    assert len(refused.value.problems) == 10


def test_texts_are_whole_and_end_at_no_other_line_break(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    broken = r'{"message": "\ud800", "pair": "\ud83d\ude00", "rate": Infinity}'
    path.write_text(f'{{"message": "a\u2028b\x85c"}}\r\n\n{broken}\n', encoding="utf-8", newline="")
    assert read_file(path).documents == [
        {"message": "a\u2028b\x85c"}, {"message": "\ufffd", "pair": "\U0001f600", "rate": float("inf")},
    ]  # fmt: skip


# ---- Files ---------------------------------------------------------------------------------------------------------------


def metric(value: Any, unit: str = "") -> dict[str, Any]:
    return {"value": value, "unit": unit}


def aiperf(metadata: dict[str, Any], error: dict[str, Any] | None = None, **metrics: Any) -> dict[str, Any]:
    return {"metadata": {"request_start_ns": 5 * NS_PER_S, **metadata}, "metrics": metrics, "error": error}


@pytest.mark.parametrize(
    ("text", "started"),
    [("2026-11-24T10:00:00.5", "2026-11-24T10:00:00.500000"), ("yesterday", None), (None, None)],
)
def test_a_start_that_is_no_time_is_not_known(text: str | None, started: str | None, tmp_path: Path) -> None:
    assert read("aiperf", tmp_path, aiperf({}), profile_export_aiperf={"start_time": text}).started == started


def test_aiperf_says_what_ended_a_request(tmp_path: Path) -> None:
    timed = {"request_end_ns": 8 * NS_PER_S}
    good = {"time_to_first_token": metric(500.0, "ms"), "inter_chunk_latency": metric([250_000, 1.0], "us"),
            "usage_prompt_tokens": metric(9), "output_sequence_length": metric(4.0)}  # fmt: skip
    rows = [
        aiperf(timed, **good, request_latency=metric(2.0, "sec")),
        aiperf({**timed, "benchmark_phase": "warmup"}, **good),
        aiperf({"was_cancelled": True, "request_start_ns": 6 * NS_PER_S}, {"message": "cut"}, **good),
        aiperf({}, {"code": 503, "message": "busy"}, **good),
        aiperf({}, {"code": 99, "type": "Odd"}),
        aiperf({}, {"code": 600}),
        aiperf({}, {"message": "gone"}, request_latency=metric(7.0)),
    ]
    run = read("aiperf", tmp_path, *rows)
    found = [(r.outcome, r.status, r.error, r.latency_s, r.ttft_s, r.output_tokens) for r in run.requests]
    assert found == [
        (Outcome.OK, None, None, 2.0, 0.5, 4),
        (Outcome.OK, None, None, 3.0, 0.5, 4),
        (Outcome.CANCELLED, None, "cut", None, None, None),
        (Outcome.HTTP_ERROR, 503, "busy", None, None, None),
        (Outcome.STREAM_ERROR, None, "Odd", None, None, None),
        (Outcome.STREAM_ERROR, None, "an error without words", None, None, None),
        (Outcome.STREAM_ERROR, None, "gone", 0.007, None, None),  # A number without a unit is in ms.
    ]
    assert [request.sent_s for request in run.requests] == [0, 0, 1, 0, 0, 0, 0]
    assert run.requests[0].gaps_s == [pytest.approx(0.25), pytest.approx(1e-6)]
    assert [request.input_tokens for request in run.requests] == [9, 9, 9, 9, None, None, None]
    assert [request.warmup for request in run.requests] == [False, True, *[False] * 5]
    assert [request.due_s for request in run.requests] == [None] * 7
    assert (run.lacks, run.model, run.url, run.version, run.endpoint) == ((), None, None, None, "chat")


@pytest.mark.parametrize(("code", "status"), [(99, None), (100, 100), (599, 599), (600, None)])
def test_a_code_of_aiperf_is_a_status_where_http_has_it(code: int, status: int | None, tmp_path: Path) -> None:
    (row,) = read("aiperf", tmp_path, aiperf({}, {"code": code})).requests
    assert row.status == status


@pytest.mark.parametrize(
    ("unit", "seconds"), [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("sec", 1.0), ("", 1e-3)]
)
def test_a_time_of_aiperf_has_its_unit(unit: str, seconds: float, tmp_path: Path) -> None:
    row = aiperf({}, time_to_first_token=metric([2.0], unit), request_latency=metric([], unit))
    run = read("aiperf", tmp_path, row)
    (request,) = run.requests
    assert (request.ttft_s, request.latency_s) == (pytest.approx(2 * seconds), None)
    assert run.lacks == (ONE_GAP,)


@pytest.mark.parametrize(
    ("tool", "row", "sentence"),
    [
        ("aiperf", {"request_latency": {"value": 2.0, "unit": "fortnight"}}, "request_latency is in 'fortnight'"),
        ("genai-bench", {"_time_unit": "us"}, "Invalid enum value 'us'"),
        ("vllm", {"request_rate": "abc"}, "Invalid enum value 'abc'"),
    ],
)
def test_a_word_that_would_be_guessed_at_is_refused(
    tool: str, row: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    rows = {
        "aiperf": aiperf({}, **row),
        "genai-bench": {"individual_request_metrics": [], "aggregated_metrics": {"run_duration": 1.0}, **row},
        "vllm": {**VLLM, **row},
    }
    with pytest.raises(UsageError, match=sentence):
        read(tool, tmp_path, rows[tool])


@pytest.mark.parametrize("count", [float("nan"), float("inf")])
def test_a_count_that_is_no_number_is_refused(count: float, tmp_path: Path) -> None:
    run = read("aiperf", tmp_path, aiperf({}, output_sequence_length={"value": count, "unit": "tokens"}))
    with pytest.raises(UsageError, match=f"it has {count} tokens"):
        made(run, tmp_path)


def test_counts_become_whole_in_the_records(tmp_path: Path) -> None:
    (record,), _ = made(
        ForeignRun(requests=[request(latency_s=2.0, ttft_s=0.5, input_tokens=9.6, output_tokens=3.7)]), tmp_path
    )
    assert (record.input_tokens, record.output_tokens, record.chunk_tokens) == (10, 4, (1, 3))


def test_a_number_of_more_digits_than_python_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(f'{{"duration": {"9" * 5000}}}')
    with pytest.raises(UsageError, match="is not a result file: it is not JSON"):
        read_file(tmp_path / "result.json")


def test_a_file_of_warm_up_alone_has_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no requests after its warm-up"):
        made(ForeignRun(requests=[request(warmup=True)]), tmp_path)


def test_aiperf_is_due_by_its_credits_where_a_rate_is_kept(tmp_path: Path) -> None:
    totals = {
        "aiperf_version": "0.13",
        "start_time": "2026-11-24T10:00:00",
        "input_config": {
            "models": {"items": [{"name": "m"}, {"name": "n"}]},
            "endpoint": {"urls": ["http://a", "http://b"], "type": "completions"},
            "phases": [{"kind": "warmup", "concurrency": 1}, {"kind": "profiling", "rate": 2.0, "concurrency": 7}],
        },
    }
    rows = [aiperf({"credit_issued_ns": 4 * NS_PER_S}), aiperf({})]
    run = read("aiperf", tmp_path, *rows, profile_export_aiperf=totals)
    assert [request.due_s for request in run.requests] == [-1, None]
    assert (run.rate, run.concurrency, run.endpoint) == (2.0, 7, "completions")
    assert (run.version, run.started, run.model, run.url) == ("0.13", "2026-11-24T10:00:00", "m", "http://a")


VLLM: dict[str, Any] = {
    "tokenizer_id": "t", "request_throughput": 1.0, "total_output_tokens_retokenized": 1,
    "ttfts": [0.5, 0.25], "itls": [[0.5, 1.0], []], "input_lens": [7, 8], "output_lens": [3, 0], "errors": ["", "broke"],
    "duration": 4.0,
}  # fmt: skip


def vllm(**changed: Any) -> dict[str, Any]:
    return {key: value for key, value in {**VLLM, **changed}.items() if key != "total_output_tokens_retokenized"}


def test_vllm_has_arrays_and_a_failed_request_no_tokens(tmp_path: Path) -> None:
    run = read("vllm", tmp_path, vllm(date="20261124-100203", model_id="m", backend="openai", max_concurrency=5))
    good, bad = run.requests
    assert (good.latency_s, good.ttft_s, good.gaps_s) == (2.0, 0.5, [0.5, 1.0])
    assert (good.input_tokens, good.output_tokens, good.outcome, good.error) == (7, 3, Outcome.OK, None)
    assert (bad.latency_s, bad.ttft_s, bad.gaps_s, bad.input_tokens, bad.output_tokens) == (0.25, None, None, 8, None)
    assert (bad.outcome, bad.error) == (Outcome.STREAM_ERROR, "broke")
    assert [row.sent_s for row in run.requests] == [0.0, 3.75]  # The last request ends with the run.
    assert (run.started, run.model, run.endpoint, run.concurrency, run.rate) == (
        "2026-11-24T10:02:03", "m", "completions", 5, None,
    )  # fmt: skip
    assert run.lacks == (SPREAD,)


def test_a_failed_request_of_vllm_may_have_no_words(tmp_path: Path) -> None:
    run = read("vllm", tmp_path, vllm(ttfts=[0.5, 0.0], errors=["", ""]))  # A status line without a reason.
    assert [row.outcome for row in run.requests] == [Outcome.OK, Outcome.STREAM_ERROR]
    assert [row.error for row in run.requests] == [None, "an error without words"]


def test_vllm_says_when_requests_began_and_how_long_they_took(tmp_path: Path) -> None:
    run = read(
        "vllm", tmp_path,
        vllm(start_times=[9.0, 8.0], latencies=[3.0, 1.0], endpoint_type="openai-chat", request_rate=2.5, date="soon"),
    )  # fmt: skip
    assert [(row.sent_s, row.latency_s) for row in run.requests] == [(9.0, 3.0), (8.0, 1.0)]
    assert (run.lacks, run.endpoint, run.rate, run.started) == ((), "chat", 2.5, None)


@pytest.mark.parametrize("name", ["ttfts", "itls", "input_lens", "output_lens", "errors", "latencies"])
def test_an_array_of_vllm_with_another_length_is_damage(name: str, tmp_path: Path) -> None:
    whole = vllm(latencies=[1.0, 2.0])
    with pytest.raises(UsageError, match="its arrays have different lengths"):
        read("vllm", tmp_path, {**whole, name: whole[name][:1]})


def test_sglang_has_the_arrays_of_vllm(tmp_path: Path) -> None:
    row = {key: value for key, value in VLLM.items() if key != "tokenizer_id"}
    run = read("sglang", tmp_path, {**row, "backend": "sglang-oai-chat", "request_rate": 3.0, "max_concurrency": 4})
    assert [request.sent_s for request in run.requests] == [0.0, 3.75]
    assert (run.endpoint, run.rate, run.concurrency, run.lacks, run.duration_s) == ("chat", 3.0, 4, (SPREAD,), 4.0)
    assert read("sglang", tmp_path, {**row, "backend": "sglang"}).endpoint == "completions"


@pytest.mark.parametrize(("unit", "seconds"), [({"_time_unit": "ms"}, 1e-3), ({"_time_unit": "s"}, 1.0), ({}, 1.0)])
def test_genai_bench_has_its_unit_and_codes(unit: dict[str, str], seconds: float, tmp_path: Path) -> None:
    rows = [
        {"ttft": 2.0, "e2e_latency": 8.0, "num_input_tokens": 9.6, "num_output_tokens": 4},
        {"ttft": 2.0, "num_output_tokens": 4, "error_code": 429, "error_message": "slow"},
        {"error_code": 1 << 64, "error_message": "no status of HTTP"},
    ]
    totals = {"run_duration": 10.0, "num_concurrency": 3}
    said = {"benchmark_version": "1", "model": "m"}
    run = read(
        "genai-bench", tmp_path, {"individual_request_metrics": rows, "aggregated_metrics": totals, **unit},
        experiment_metadata=said,
    )  # fmt: skip
    good, bad, other = run.requests
    assert (good.ttft_s, good.latency_s) == (pytest.approx(2 * seconds), pytest.approx(8 * seconds))
    assert (good.input_tokens, good.output_tokens, good.outcome, good.status) == (9.6, 4, Outcome.OK, None)
    assert (bad.ttft_s, bad.latency_s, bad.input_tokens, bad.output_tokens) == (None, None, None, None)
    assert (bad.outcome, bad.status, bad.error, bad.sent_s) == (Outcome.HTTP_ERROR, 429, "slow", 5.0)
    assert (other.outcome, other.status) == (Outcome.STREAM_ERROR, None)
    assert (run.concurrency, run.duration_s, run.version, run.model) == (3, 10.0, "1", "m")


def guidellm(rows: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"guidellm_version": "0.6"},
        "benchmarks": [{"requests": rows, "start_time": 86_400.0, "duration": 9.0, "config": config}],
    }


def timings(*times: float | None, error: str | None = None) -> dict[str, Any]:
    names = ("targeted_start", "request_start", "first_token_iteration", "request_end")
    return {
        "info": {"timings": dict(zip(names, times, strict=True)), "error": error},
        "prompt_tokens": 9,
        "output_tokens": 4,
    }


def test_guidellm_says_how_requests_ended(tmp_path: Path) -> None:
    rows = {
        "successful": [timings(1.0, 2.0, 2.5, 4.0), timings(3.0, None, 3.5, None)],
        "errored": [timings(1.0, 2.0, 2.5, 4.0, error="broke"), timings(None, None, None, None, error="no")],
        "incomplete": [timings(1.0, 2.0, 2.5, 4.0), timings(1.0, None, None, None)],  # The last request was never sent.
    }
    config = {"strategy": {"rate": 2.0, "streams": 7, "max_concurrency": 5},
              "backend": {"target": "http://h", "model": "m", "request_format": "/v1/completions"}}  # fmt: skip
    run = read("guidellm", tmp_path, guidellm(rows, config))
    assert [(r.sent_s, r.due_s, r.latency_s, r.ttft_s, r.output_tokens, r.outcome) for r in run.requests] == [
        (2.0, 1.0, 2.0, 0.5, 4, Outcome.OK),
        (3.0, 3.0, None, 0.5, 4, Outcome.OK),
        (2.0, 1.0, 2.0, None, None, Outcome.STREAM_ERROR),
        (None, None, None, None, None, Outcome.STREAM_ERROR),
        (2.0, 1.0, 2.0, None, None, Outcome.INTERRUPTED),
    ]
    assert [request.error for request in run.requests] == [None, None, "broke", "no", None]
    assert [request.input_tokens for request in run.requests] == [9] * 5
    assert (run.started, run.duration_s, run.version) == ("1970-01-02T00:00:00+00:00", 9.0, "0.6")
    assert (run.model, run.url, run.endpoint, run.rate, run.concurrency) == ("m", "http://h", "completions", 2.0, 5)
    # With users, a request is due when its user is free. The default endpoint is chat.
    run = read("guidellm", tmp_path, guidellm(rows, {"strategy": {"streams": 7, "max_concurrency": 5}}))
    assert (run.endpoint, run.rate, run.concurrency, run.requests[0].due_s) == ("chat", None, 7, None)
    # A sweep begins with one request after the other, and with as many at once as guidellm ever has.
    for most, concurrency in ((1, 1), (10_240, None)):
        run = read("guidellm", tmp_path, guidellm(rows, {"strategy": {"max_concurrency": most}}))
        assert (run.rate, run.concurrency) == (None, concurrency)


def test_guidellm_ends_a_reply_at_its_last_token(tmp_path: Path) -> None:
    row = timings(1.0, 2.0, 2.5, 4.0)
    row["info"]["timings"]["last_token_iteration"] = 3.75
    (good, bad) = read("guidellm", tmp_path, guidellm({"successful": [row], "errored": [row]}, {})).requests
    assert (good.latency_s, bad.latency_s) == (1.75, 2.0)


def test_what_is_no_time_is_no_date() -> None:
    assert [iso_time(at) for at in (0.0, float("nan"), 1e300)] == ["1970-01-01T00:00:00+00:00", None, None]
