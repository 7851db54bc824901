"""Clients that measure wrongly: each is caught and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.metrics.quantile import describe
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.metric_titles import in_sentence
from bench.verdict.finding import Status
from tests.support import slow_metrics
from tests.support.certified_run import LATENCY, LINES, RECORDS, N, certified, judged, latency_of
from tests.support.changed import replace
from tests.support.made_ledger import made_line

Metric = Callable[[RequestRecord], float | None]


def role_chunk_ttft(record: RequestRecord) -> float | None:
    assert record.sent_ns is not None
    return (record.chunk_ns[0] - record.sent_ns) / 1e6


def content_only_ttft(record: RequestRecord) -> float | None:
    assert record.sent_ns is not None
    return (record.chunk_ns[record.chunk_kind.index("c")] - record.sent_ns) / 1e6


def usage_chunk_e2el(record: RequestRecord) -> float | None:
    assert record.sent_ns is not None
    return (record.chunk_ns[record.chunk_kind.index("u")] - record.sent_ns) / 1e6


def done_e2el(record: RequestRecord) -> float | None:
    assert record.sent_ns is not None
    return (record.chunk_ns[-1] - record.sent_ns) / 1e6


def tpot_with_ttft(record: RequestRecord) -> float | None:
    e2el, n = slow_metrics.e2el_ms(record), record.output_tokens
    assert e2el is not None
    assert n is not None
    return e2el / n


def tpot_by_chunks(record: RequestRecord) -> float | None:
    times = slow_metrics.token_chunk_ns(record)
    return (times[-1] - times[0]) / (len(times) - 1) / 1e6


def whole_ms(metric: Metric) -> Metric:
    def rounded(record: RequestRecord) -> float | None:
        value = metric(record)
        return None if value is None else float(int(value))

    return rounded


WRONG_METRICS: list[tuple[str, str, Metric, str]] = [
    ("TTFT at the role chunk", "ttft_ms", role_chunk_ttft, "it ends at the role chunk"),
    ("reasoning ignored", "ttft_ms", content_only_ttft, "reasoning is not counted as text"),
    ("latency ended at the usage chunk", "e2el_ms", usage_chunk_e2el, "it ends at the usage chunk"),
    ("latency ended at [DONE]", "e2el_ms", done_e2el, "it ends at the last chunk of any kind"),
    ("TPOT with TTFT in it", "tpot_ms", tpot_with_ttft, "it includes TTFT: it is E2EL / n"),
    ("chunks taken for tokens", "tpot_ms", tpot_by_chunks, "chunks are counted as tokens"),
    ("whole milliseconds", "tpot_ms", whole_ms(slow_metrics.tpot_ms), "values are cut to whole milliseconds"),
]


@pytest.mark.parametrize(
    ("defect", "metric", "wrong", "cause"), WRONG_METRICS, ids=[name for name, *_ in WRONG_METRICS]
)
def test_a_wrong_metric_is_caught_and_named_with_its_size_and_cause(
    defect: str, metric: str, wrong: Metric, cause: str, tmp_path: Path
) -> None:
    latency = dict(LATENCY)
    latency[metric] = to_plain(describe(sorted(value for value in map(wrong, RECORDS) if value is not None)))
    rows = certified(tmp_path, latency=latency)
    found = judged(rows)
    assert found.status is not Status.VALID
    assert found.reasons
    assert all(f" of {in_sentence(metric)} reads " in reason for reason in found.reasons)
    (named,) = rows["causes"]
    assert (named["metric"], named["unit"]) == (metric, "ms")
    assert named["cause"].startswith(cause)
    row = next(row for row in rows["metrics"] if (row["metric"], row["stat"]) == (metric, named["stat"]))
    assert named["size"] == row["error"]
    assert abs(named["size"]) == max(
        abs(row["error"]) for row in rows["metrics"] if row["metric"] == metric and row["stat"] not in ("p999", "max")
    )


def test_whole_milliseconds_are_within_the_bands_where_the_value_is_large(tmp_path: Path) -> None:
    # 0.5 ms of about 540 ms is 0.1%. A band is exceeded only if both of its limits are; the certificate shows the error
    # anyway.
    latency = dict(LATENCY)
    latency["e2el_ms"] = to_plain(describe(sorted(float(int(slow_metrics.e2el_ms(r) or 0)) for r in RECORDS)))
    rows = certified(tmp_path, latency=latency)
    assert judged(rows).status is Status.VALID
    (p50,) = [row for row in rows["metrics"] if (row["metric"], row["stat"]) == ("e2el_ms", "p50")]
    assert -1 < p50["error"] < -0.1
    assert [cause["cause"] for cause in rows["causes"]] == ["values are cut to whole milliseconds"]


def test_the_latency_of_failures_mixed_in_is_caught(tmp_path: Path) -> None:
    # The server refuses every tenth request within 2 ms; the client counts that as a time to first token.
    refused = [replace(r, outcome=Outcome.HTTP_ERROR, status=429, chunk_ns=(), chunk_kind="", chunk_tokens=None)
               for r in RECORDS[::10]]  # fmt: skip
    served = [r for i, r in enumerate(RECORDS) if i % 10]
    lines = [made_line(r, fault="429") for r in refused] + [made_line(r) for r in served]
    assert certified(tmp_path / "right", [*refused, *served], lines)["problems"] == []
    latency = latency_of([*refused, *served])
    ttfts = [slow_metrics.ttft_ms(r) or 0.0 for r in served] + [2.0] * len(refused)
    latency["ttft_ms"] = to_plain(describe(sorted(ttfts)))
    rows = certified(tmp_path / "wrong", [*refused, *served], lines, latency)
    assert rows["problems"] == [f"ttft_ms: {N} values measured, and {N - N // 10} in the ledger"]
    assert [c["cause"] for c in rows["causes"]] == [
        f"failed requests are included: there are {N // 10} values too many, as many as there were failed requests"
    ]
    assert judged(rows).status is Status.INVALID


def test_warm_up_left_in_is_caught(tmp_path: Path) -> None:
    records = [replace(r, phase="warmup") if r.index < 20 else r for r in RECORDS]
    assert certified(tmp_path / "right", records)["problems"] == []
    rows = certified(tmp_path / "wrong", records, latency=LATENCY)
    assert f"ttft_ms: {N} values measured, and {N - 20} in the ledger" in rows["problems"]
    (ttft,) = [c for c in rows["causes"] if c["metric"] == "ttft_ms"]
    assert ttft["cause"].startswith("warm-up requests are included")


WRONG_RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("a lost chunk", "number of chunks", {"chunk_ns": RECORDS[7].chunk_ns[:-1], "chunk_kind": RECORDS[7].chunk_kind[:-1],
                                "chunk_tokens": (RECORDS[7].chunk_tokens or ())[:-1]}),
    ("chunks counted as tokens", "number of tokens", {"output_tokens": 23}),
    ("reasoning taken for nothing", "sequence of chunks", {"chunk_kind": "r" + "o" * 3 + "c" * 20 + "uo"}),
    ("a byte too many", "number of bytes", {"bytes_received": RECORDS[7].bytes_received + 1}),
    ("a wrong status", "status", {"status": 206}),
]  # fmt: skip


@pytest.mark.parametrize(("defect", "named", "change"), WRONG_RECORDS, ids=[name for name, _, _ in WRONG_RECORDS])
def test_one_wrong_record_makes_the_run_invalid_and_is_named(
    defect: str, named: str, change: dict[str, Any], tmp_path: Path
) -> None:
    records = [replace(r, **change) if r.index == 7 else r for r in RECORDS]
    found = judged(certified(tmp_path, records))
    assert found.status is Status.INVALID
    assert any(f"whose {named} differs from the ledger (1): made-7" in reason for reason in found.reasons)


def test_a_missing_record_and_a_missing_line_make_the_run_invalid(tmp_path: Path) -> None:
    assert "made-7" in judged(certified(tmp_path / "a", RECORDS[:7] + RECORDS[8:])).reasons[0]
    assert "made-9" in judged(certified(tmp_path / "b", lines=LINES[:9] + LINES[10:])).reasons[0]


def test_an_error_inside_a_200_stream_scored_as_success_makes_the_run_invalid(tmp_path: Path) -> None:
    lines = [made_line(RECORDS[0], fault="error_in_stream"), *LINES[1:]]
    rows = certified(tmp_path, lines=lines)
    assert "made-0 (ok here, stream_error there)" in rows["problems"][0]
    assert f"ttft_ms: {N} values measured, and {N - 1} in the ledger" in rows["problems"]
    assert judged(rows).status is Status.INVALID


def test_stamps_taken_late_are_caught(tmp_path: Path) -> None:
    # A client that parses JSON before it reads the clock is late under load: by 5 ms for every chunk.
    late = [replace(r, chunk_ns=tuple(at + 5_000_000 for at in r.chunk_ns)) for r in RECORDS]
    rows = certified(tmp_path, late)
    found = judged(rows)
    assert found.status is Status.INVALID
    assert any("of TTFT reads" in reason for reason in found.reasons)
    assert not any("of itl_ms reads" in reason for reason in found.reasons)  # A constant delay keeps the gaps.
    assert {c["metric"]: c["cause"] for c in rows["causes"]}["ttft_ms"] == (
        "the time stamps are late: all quantiles are shifted by +5.002 ms"
    )
