"""Users who cancel: the plan, the draw, and their requests in the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bench.comparison.request_values import read_values
from bench.config import resolve
from bench.errors import UsageError
from bench.metrics.objectives import parse as objectives
from bench.records import NO_FAILURE, Outcome, to_line
from bench.traffic import cancel
from bench.workload import Encoded, Supply
from promptset.samples import Sample
from tests.support.made_records import made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_page, run_text
from tests.support.slow_metrics import time_until_failure_ms

MS = 1_000_000
SCHEMA = json.loads((Path(cancel.__file__).parents[1] / "report" / "summary.schema.json").read_text())


@pytest.mark.parametrize(
    ("given", "share", "plain"),
    [
        ("share=10%,after=exp:mean=2s", 0.1, "share=10%,after=exp:mean=2s"),
        ("after=lognormal:mean=2s,cv=0.5,max=10s, share=.25", 0.25, "share=25%,after=lognormal:mean=2s,cv=0.5,max=10s"),
        ("share=1,after=500ms", 1.0, "share=100%,after=500ms"),
    ],
)
def test_a_plan_has_a_share_and_a_distribution_with_commas_of_its_own(given: str, share: float, plain: str) -> None:
    made = cancel.parse(given)
    assert made.share == share
    assert cancel.parse(str(made)) == made
    assert resolve({"url": "http://h", "cancel": given}).cancel == str(made)
    assert str(made) == plain


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("10%", "is not of the form share=SHARE,after=DIST"),
        ("share=10%", "is not of the form"),
        ("share=10%,share=5%,after=1s", "is not of the form"),
        ("share=0%,after=1s", "more than 0 and at most 100%"),
        ("share=150%,after=1s", "more than 0 and at most 100%"),
        ("share=many,after=1s", "is no share of the requests"),
        ("share=10%,after=7", "unit"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(given: str, problem: str) -> None:
    with pytest.raises(UsageError, match="--cancel: ") as caught:
        resolve({"url": "http://h", "cancel": given})
    assert problem in str(caught.value)


def test_who_leaves_depends_on_seed_and_number_alone_and_their_share_is_kept() -> None:
    plan = cancel.parse("share=10%,after=exp:mean=2s")
    drawn = [plan.after_ns(3, number) for number in range(5000)]
    left = [after for after in drawn if after is not None]
    assert 0.085 < len(left) / 5000 < 0.115
    assert 1.8e9 < sum(left) / len(left) < 2.2e9
    assert plan.after_ns(3, 42) == drawn[42]

    def supply(first: int, step: int) -> Supply:
        samples = iter([Sample(prompt="x")] * 100)
        encode = lambda sample: Encoded(b"{}", True, None)  # noqa: E731
        return Supply(samples, encode, "run", first=first, step=step, cancel=lambda number: plan.after_ns(3, number))

    dealt = [[supplied.take("run").cancel_after_ns for _ in range(50)] for supplied in (supply(0, 2), supply(1, 2))]
    assert [dealt[number % 2][number // 2] for number in range(100)] == drawn[:100]


def left(index: int, **fields: Any) -> Any:
    return made_record(index, sent_ms=index * 10, chunks_ms=(20.0, 30.0), outcome=Outcome.CANCELLED, **fields)


def some() -> list[Any]:
    ordinary = [made_record(i, sent_ms=i * 10, chunks_ms=(50.0, 60.0, 70.0)) for i in range(8)]
    return [*ordinary, left(8), left(9), made_record(10, sent_ms=100, chunks_ms=(), outcome=Outcome.HTTP_ERROR)]


def test_cancelled_requests_are_neither_failures_nor_successes_and_in_no_rate() -> None:
    with_them, without = made_summary(some()), made_summary([r for r in some() if r.outcome is not Outcome.CANCELLED])
    counts = with_them["counts"]
    assert (counts["sent"], counts["succeeded"], counts["failed"], counts["cancelled"]) == (11, 8, 1, 2)
    assert counts["by_outcome"] == {"ok": 8, "http_error": 1, "cancelled": 2}
    assert with_them["latency"]["ttft_ms"]["n"] == without["latency"]["ttft_ms"]["n"] == 8
    assert with_them["latency_of_failures_ms"]["n"] == 1
    assert [row["outcome"] for row in with_them["errors"]] == ["http_error"]
    span = with_them["throughput"]["duration_s"]
    assert with_them["throughput"]["output_tokens_per_s"] == pytest.approx(24 / span)
    assert "cancelled" not in without
    assert "cancelled" not in without["counts"]
    assert time_until_failure_ms(left(0)) is None
    assert Outcome.CANCELLED in NO_FAILURE


def test_goodput_and_the_error_rate_are_shares_of_those_who_stayed() -> None:
    wanted = objectives(["e2el:p99<1s", "error_rate<12%"])
    whole = made_summary(some(), objectives=wanted)
    assert whole["goodput"]["share"] == pytest.approx(8 / 9)
    assert whole["slo"]["objectives"][1]["value"] == pytest.approx(1 / 9)


def test_what_they_received_stands_apart() -> None:
    whole, page = made_page([*some(), left(11, sent_ns=None)])
    found = whole["cancelled"]
    assert (found["requests"], found["with_tokens"], found["token_chunks"], found["bytes_received"]) == (2, 2, 4, 800)
    assert found["after_ms"]["p50"] == pytest.approx(30)
    Draft202012Validator(SCHEMA["properties"]["cancelled"] | {"$defs": SCHEMA["$defs"]}).validate(found)
    assert "Cancelled 3" in " ".join(run_text(whole).split())
    assert "Their users left, as planned" in run_page(whole, page)


def test_comparisons_leave_them_out(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_bytes(b"".join(to_line(record) for record in some()))
    (tmp_path / "run.yaml").write_text("{}")
    assert len(next(iter(read_values(tmp_path).metrics.values()))) == 8
