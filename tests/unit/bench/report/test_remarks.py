"""Remarks on a run: what helps to read its numbers, and what a reader might misunderstand."""

from __future__ import annotations

import pytest

from bench.documents import remarks
from bench.documents.document import Level
from bench.metrics.objectives import parse
from bench.records import Outcome
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_text, typed_summary


@pytest.mark.parametrize(
    ("warmup", "words", "no_errors"),
    [
        ("...", [], "No request failed."),
        ("x..", ["1 of 3 requests of the warm-up failed (33.3%)."], "No request failed after the warm-up."),
        (
            "xx.",
            ["2 of 3 requests of the warm-up failed (66.7%). The server may still have been cold when the run began."],
            "No request failed after the warm-up.",
        ),
    ],
)
def test_a_warmup_that_failed_is_said(warmup: str, words: list[str], no_errors: str) -> None:
    ends = {"x": Outcome.HTTP_ERROR, ".": Outcome.OK}
    records = [made_record(i, phase="warmup", outcome=ends[end]) for i, end in enumerate(warmup)]
    summary = made_summary([*records, made_record(9, sent_ms=100.0)])
    assert remarks.warnings(typed_summary(summary)) == words
    lines = run_text(summary, level=Level.FIRST, width=120).splitlines()
    assert no_errors in lines
    assert [line for line in lines if "warm-up failed" in line] == words


@pytest.mark.parametrize(("share", "said"), [(None, False), (0.05, False), (0.06, True)])
def test_a_machine_that_its_host_kept_from_running_is_said(share: float | None, said: bool) -> None:
    stolen = None if share is None else {"share": share, "seconds": 1.0}
    made = made_summary([made_record(0)])
    summary = typed_summary(made | {"instrument": made["instrument"] | {"stolen": stolen}})
    words = (
        "This virtual machine was kept from running: its host withheld 6.0% of the processor time that it would have"
    )
    assert [warning[: len(words)] for warning in remarks.warnings(summary)] == [words] * said


@pytest.mark.parametrize(
    ("objectives", "names"),
    [
        (["ttft:p99<200ms", "tpot:p90<200ms", "ttft:p50<1ms"], "ttft:p99<200ms, tpot:p90<200ms"),
        (["ttft:p75<200ms", "ttft:mean<200ms", "tps:p50>1"], ""),
        (["ttft:p99<200ms", "error_rate<50%"], ""),
        ([], ""),
    ],
)
def test_objectives_that_hold_only_because_failed_requests_have_no_latency_are_said(
    objectives: list[str], names: str
) -> None:
    records = [made_record(i, sent_ms=9.0 * i) for i in range(4)]
    records += [made_record(9, outcome=Outcome.HTTP_ERROR, chunks_ms=(), status=500)]
    words = (
        f"{names} held among the answered requests alone: 20.0% of all failed, which is more than may break it. Add "
    )
    words += '--slo "error_rate<1%" to judge them, too.'
    summary = typed_summary(made_summary(records, objectives=parse(objectives)))
    assert remarks.warnings(summary) == [words] * bool(names)


@pytest.mark.parametrize(
    ("others", "said"), [([], True), (["error_rate{model=a}<1%"], True), (["error_rate{model=b}<1%"], False)]
)
def test_a_model_that_holds_only_because_its_failed_requests_have_no_latency_is_said(
    others: list[str], said: bool
) -> None:
    records = [made_record(i, sent_ms=float(i), model="a") for i in range(8)]
    records += [made_record(8, sent_ms=8.0, model="b")]
    records += [made_record(9, outcome=Outcome.HTTP_ERROR, chunks_ms=(), status=500, model="b")]
    objectives = parse(["ttft{model=a}:p99<200ms", "ttft{model=b}:p75<200ms", *others])
    summary = typed_summary(made_summary(records, objectives=objectives, models=("a", "b")))
    words = (
        "ttft{model=b}:p75<200ms held among the answered requests alone: 50.0% of model b failed, which is more than may "
        'break it. Add --slo "error_rate{model=b}<1%" to judge them, too.'
    )
    assert remarks.warnings(summary) == [words] * said


@pytest.mark.parametrize(("requests", "said"), [(3, True), (4, False), (None, False)])
def test_users_without_a_request_are_said(requests: int | None, said: bool) -> None:
    summary = made_summary([made_record(i) for i in range(3)], mode="concurrency", open_loop=False, concurrency=4)
    summary["run"]["config"] = {"mode": "concurrency", "requests": requests}
    words = (
        "The run had 3 requests for 4 users: at most 3 were in flight. For 4, give --requests 40 (ten for each user) "
        "or --duration 60s."
    )
    assert remarks.warnings(typed_summary(summary)) == [words] * said


@pytest.mark.parametrize(
    ("gap_ms", "bound_ms", "said"),
    [(0.04, None, True), (0.05, None, False), (0.06, None, False), (0.0, 50.0, True), (0.0, 20.0, False)],
)
def test_replies_whose_tokens_came_at_once_are_said(gap_ms: float, bound_ms: float | None, said: bool) -> None:
    """`bound_ms`: the earliest possible time of the first token."""
    chunks = (50.0, 50.0 + gap_ms, 50.0 + 2 * gap_ms)
    bounds = None if bound_ms is None else (START_NS + round(bound_ms * MS), None, None)
    warnings = remarks.warnings(typed_summary(made_summary([made_record(chunks_ms=chunks, chunk_bound_ns=bounds)])))
    assert [line.startswith("The median TPOT is 0") for line in warnings] == [True] * said


@pytest.mark.parametrize(("asked", "said"), [(2, True), (3, False)])
def test_replies_longer_than_their_limit_are_said(asked: int, said: bool) -> None:
    records = [made_record(i, sent_ms=100.0 * i, output_tokens_asked=asked if i < 6 else 3) for i in range(100)]
    words = (
        "6.0% of the replies have more output tokens than the limit that was sent: the server does not keep to it. The "
    )
    words += "load is longer than planned: 300 tokens, where 294 were the limit."
    assert remarks.warnings(typed_summary(made_summary(records))) == [words] * said
    unlimited = made_record(100, sent_ms=1e4, output_tokens_asked=None)
    words = words.replace("of the replies", "of the 100 replies with a limit").replace(
        ": 300 tokens, where 294 were the limit", ""
    )
    assert remarks.warnings(typed_summary(made_summary([*records, unlimited]))) == [words] * said


@pytest.mark.parametrize(
    ("asked", "counted", "said"),
    [(10, 1_000, True), (10, 61, True), (10, 60, False), (300, 361, True), (300, 360, False), (10, None, False)],
)
def test_prompts_that_the_server_counts_much_longer_are_said(asked: int, counted: int | None, said: bool) -> None:
    records = [made_record(i, sent_ms=100.0 * i, input_tokens_asked=asked, input_tokens=counted) for i in range(4)]
    warnings = remarks.warnings(typed_summary(made_summary(records)))
    words = (
        f"where {4 * asked:,} were sent, {(counted or 0) - asked:,} more in each prompt: a system prompt or template"
    )
    assert any(words in line for line in warnings) is said
