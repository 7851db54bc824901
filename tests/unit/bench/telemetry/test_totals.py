"""Exported metrics from records and live lines, against a count by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.telemetry.declared import METRICS
from bench.telemetry.spans import span_of
from bench.telemetry.task import Exported, Subject
from bench.telemetry.totals import Distribution, Point, Totals
from tests.support.made_records import made_record

SUBJECT = Subject(
    run_id="made",
    name="run",
    version="0",
    endpoint="chat",
    generates=True,
    model="m",
    host="h",
    port=8000,
    load_unit="users",
    request={"gen_ai.request.temperature": 0.5},
)
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
RECORDS = [
    made_record(0, chunks_ms=(50, 60, 80), traceparent=TRACE),
    made_record(1, chunks_ms=(5, 25, 35, 39), sent_ms=3),
    made_record(2, chunks_ms=(5.1,), phase="warmup"),
    made_record(3, chunks_ms=(), outcome=Outcome.HTTP_ERROR, status=503, error="busy", n=0),
    made_record(4, chunks_ms=(30,), outcome=Outcome.RESET, model="other", n=1),
    made_record(5, chunks_ms=(), outcome=Outcome.DROPPED, sent_ns=None, eligible_ns=None, connect_ns=None, n=0),
]


def totals(*batches: list[RequestRecord]) -> Totals:
    found = Totals(SUBJECT)
    for batch in batches:
        found.add(batch)
    return found


def points(of: Totals, name: str) -> list[Point]:
    return [point for point in of.points() if point.metric.name == name]


def distribution(of: Totals, name: str, **attributes: str) -> Distribution:
    (found,) = [point for point in points(of, name) if attributes.items() <= dict(point.attributes).items()]
    assert isinstance(found.value, Distribution)
    return found.value


def by_hand(values: list[float], name: str) -> list[int]:
    """The number of values in each bucket: above the previous bound, up to its own."""
    bounds = [float("-inf"), *METRICS[name].bounds, float("inf")]
    return [sum(low < value <= high for value in values) for low, high in pairwise(bounds)]


RUN = {"trueload.phase": "run", "gen_ai.request.model": "m"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("trueload.ttft", [0.05, 0.005]),
        ("trueload.tpot", [0.015, 0.034 / 3]),
        ("trueload.itl", [0.01, 0.02, 0.02, 0.01, 0.004]),
        ("trueload.e2el", [0.08, 0.039]),
        ("gen_ai.client.inference.time_to_first_chunk", [0.05, 0.005]),
        ("gen_ai.client.inference.time_per_output_chunk", [0.01, 0.02, 0.02, 0.01, 0.004]),
        ("gen_ai.client.inference.operation.output_tokens", [3.0, 4.0]),
    ],
)
def test_a_histogram_counts_each_value_in_its_bucket(name: str, values: list[float]) -> None:
    found = distribution(totals(RECORDS), name, **RUN)
    assert found.counts == by_hand(values, name)
    assert found.total == pytest.approx(sum(values))
    assert (found.least, found.most) == (pytest.approx(min(values)), pytest.approx(max(values)))


def test_the_batches_in_which_records_come_change_nothing() -> None:
    at_once, one_by_one = totals(RECORDS), totals(*([record] for record in RECORDS))
    assert [point.attributes for point in at_once.points()] == [point.attributes for point in one_by_one.points()]
    for one, other in zip(at_once.points(), one_by_one.points(), strict=True):
        if isinstance(one.value, Distribution):
            assert isinstance(other.value, Distribution)
            assert (one.value.counts, one.value.exemplars) == (other.value.counts, other.value.exemplars)
            assert one.value.total == pytest.approx(other.value.total)
        else:
            assert one.value == other.value


def test_a_duration_says_how_its_request_failed() -> None:
    of = totals(RECORDS)
    errors = {
        dict(point.attributes).get("error.type"): point.value.count
        for point in points(of, "gen_ai.client.inference.duration")
        if isinstance(point.value, Distribution)
        and dict(point.attributes)["gen_ai.request.model"] == "m"
        and dict(point.attributes)["trueload.phase"] == "run"
    }
    assert errors == {None: 2, "503": 1}
    failed = {
        (attributes["gen_ai.request.model"], attributes["error.type"]): point.value
        for point in points(of, "trueload.requests.failed")
        if (attributes := dict(point.attributes))
    }
    assert failed == {("m", "503"): 1, ("other", "reset"): 1}
    ended = {dict(point.attributes)["trueload.outcome"]: point.value for point in points(of, "trueload.requests.ended")}
    assert ended == {"ok": 1, "http_error": 1, "reset": 1, "dropped": 1} | {"ok": ended["ok"]}


def test_an_exemplar_is_a_traced_request_in_its_bucket() -> None:
    of = totals(RECORDS)
    for name, value in (("trueload.ttft", 0.05), ("trueload.itl", 0.02), ("gen_ai.client.inference.duration", 0.08)):
        found = (
            distribution(of, name, **RUN)
            if name != "gen_ai.client.inference.duration"
            else next(
                point.value
                for point in points(of, name)
                if isinstance(point.value, Distribution)
                and "error.type" not in dict(point.attributes)
                and point.value.exemplars
            )
        )
        ((bucket, exemplar),) = found.exemplars.items()
        assert (exemplar.value, exemplar.trace_id, exemplar.span_id) == (pytest.approx(value), "ab" * 16, "cd" * 8)
        assert by_hand([exemplar.value], name)[bucket] == 1
        assert found.counts[bucket] > 0


def test_points_that_were_given_out_stay_as_they_were() -> None:
    of = totals(RECORDS)
    before = distribution(of, "trueload.ttft", **RUN)
    counts = [*before.counts]
    of.add(RECORDS)
    assert before.counts == counts
    assert distribution(of, "trueload.ttft", **RUN).count == 2 * sum(counts)


def test_requests_without_generated_text_have_the_metric_of_other_operations() -> None:
    of = Totals(
        Subject(
            **{
                **{key: getattr(SUBJECT, key) for key in Subject.__slots__},
                "endpoint": "embeddings",
                "generates": False,
            }
        )
    )
    of.add([made_record(0, chunks_ms=(), n=0)])
    names = {point.metric.name for point in of.points()}
    assert "gen_ai.client.operation.duration" in names
    assert not {name for name in names if name.startswith("gen_ai.client.inference")}


def test_a_request_of_another_endpoint_or_model_than_the_run_says_so() -> None:
    of = totals([made_record(0), made_record(1, endpoint="messages", model="other")])
    assert [point.attributes[:3] for point in points(of, "trueload.requests.ended")] == [
        (("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", provider), ("gen_ai.request.model", model))
        for provider, model in (("anthropic", "other"), ("openai", "m"))
    ]


def test_a_failed_request_is_counted_by_its_status_or_its_outcome() -> None:
    failed = {
        dict(point.attributes)["error.type"]: point.value
        for point in points(totals(RECORDS), "trueload.requests.failed")
    }
    assert failed == {"503": 1, "reset": 1}


def line(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "planned": 9, "sent": 8, "dropped": 1, "in_flight": 3, "load": 4, "share_done": 0.5,
        "second": {"output_tokens": 70}, "client": {"loop_lag_ms": 2.5, "cpu": 0.25},
    }  # fmt: skip
    return plain | changes


def test_lines_give_levels_and_add_up_tokens_that_arrive() -> None:
    of = Totals(SUBJECT)
    of.live(line())
    of.live(line(planned=12, in_flight=0, load=None, client={"loop_lag_ms": 1.0, "cpu": None}))
    assert {point.metric.name: point.value for point in of.points()} == {
        "trueload.requests.planned": 12,
        "trueload.requests.sent": 8,
        "trueload.requests.dropped": 1,
        "trueload.requests.in_flight": 0,
        "trueload.load": 4,
        "trueload.output_tokens.arrived": 140,
        "trueload.progress": 0.5,
        "trueload.client.loop_lag": 0.001,
        "trueload.client.cpu": 0.25,
    }
    (load,) = points(of, "trueload.load")
    assert load.attributes == (("trueload.load.unit", "users"),)


def test_a_span_says_what_its_record_says() -> None:
    span = span_of(RECORDS[0], SUBJECT)
    assert span is not None
    assert (span.name, span.trace_id, span.span_id, span.error) == ("chat m", "ab" * 16, "cd" * 8, None)
    assert span.end_ns - span.begin_ns == 80_000_000
    assert span.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.05)
    assert span.attributes["gen_ai.request.temperature"] == 0.5
    assert "error.type" not in span.attributes


def test_the_span_of_a_failed_request_has_its_error() -> None:
    failed = made_record(3, outcome=Outcome.HTTP_ERROR, status=503, error="busy", traceparent=TRACE, session_number=4)
    span = span_of(failed, SUBJECT)
    assert span is not None
    assert (span.error, span.attributes["error.type"]) == ("busy", "503")
    assert span.attributes["gen_ai.conversation.id"] == "made-session-4"


def test_requests_that_are_not_traced_or_were_never_sent_have_no_span() -> None:
    assert span_of(RECORDS[1], SUBJECT) is None
    assert span_of(made_record(5, outcome=Outcome.DROPPED, sent_ns=None, traceparent=TRACE), SUBJECT) is None


@pytest.mark.parametrize(
    ("exported", "sentences"),
    [
        (Exported(exports=5, spans=3), ()),
        (Exported(exports=5, failed=2, error="busy"), ("--otlp: 2 of 5 exports failed (busy)",)),
        (Exported(spans=3, lost_spans=1), ("--otlp: 1 of 4 spans were not exported",)),
        (Exported(unread=9), ("exported metrics lack 9 bytes of records that could not be read in time",)),
        (Exported(unfinished=True), ("--otlp: the last export was not done 5 s after the load",)),
    ],
)
def test_the_report_says_what_was_not_exported(exported: Exported, sentences: tuple[str, ...]) -> None:
    assert exported.notes() == sentences
