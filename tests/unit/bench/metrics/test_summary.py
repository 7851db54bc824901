"""A whole run: what counts where, and independence from the order of the records."""

from __future__ import annotations

import random
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from tests.support import slow_metrics as per_request
from tests.support.changed import replace
from tests.support.made_jobs import two_agents
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of

S = 1_000_000_000


def _facts(**fields: Any) -> RunFacts:
    given: dict[str, Any] = {"mode": "rate", "open_loop": True, "endpoint": "chat", "start_ns": START_NS, "seed": 7}
    return RunFacts(**(given | fields))


def _summarize(records: list[RequestRecord], **fields: Any) -> Any:
    summary = Summary(_facts(**fields))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def _load(count: int, seed: int = 1, every_ms: float = 50.0, chunks: int = 12) -> list[RequestRecord]:
    rng = random.Random(seed)
    records = []
    for index in range(count):
        at, times = rng.uniform(30, 70), []
        for _ in range(chunks):
            times.append(at)
            at += rng.uniform(5, 25)
        records.append(made_record(index, sent_ms=index * every_ms, chunks_ms=times))
    return records


def test_a_run_is_the_sum_of_its_requests() -> None:
    records = _load(60)
    result = _summarize(records)
    ttft = [ms for record in records if (ms := per_request.ttft_ms(record)) is not None]
    gaps = [gap / MS for record in records for gap in per_request.chunk_gaps_ns(record)]
    for key, values in (("ttft_ms", ttft), ("itl_ms", gaps), ("chunk_gap_ms", gaps)):
        assert result["latency"][key]["n"] == len(values)
        assert result["latency"][key]["p90"] == pytest.approx(numpy.quantile(values, 0.9))
        assert result["latency"][key]["mean"] == pytest.approx(numpy.mean(values))
        assert result["latency"][key]["quantiles"] == "exact"
    span = (max(record.end_ns for record in records) - START_NS) / S
    assert result["throughput"]["duration_s"] == pytest.approx(span)
    assert result["throughput"]["requests_per_s"] == pytest.approx(60 / span)
    assert result["throughput"]["output_tokens_per_s"] == pytest.approx(60 * 12 / span)
    assert result["throughput"]["input_tokens_per_s"] == pytest.approx(60 * 100 / span)
    assert result["throughput"]["total_tokens_per_s"] == pytest.approx(60 * 112 / span)
    assert sum(result["series"]["output_tokens"]) == 60 * 12
    assert sum(result["series"]["bytes_in"]) == 60 * 12 * 200
    assert sum(result["series"]["bytes_out"]) == 60 * 500


def test_the_interval_of_a_mean_lies_around_it_also_of_tokens() -> None:
    for key in ("e2el_ms", "itl_ms", "chunk_gap_ms"):
        found = _summarize(_load(300))["latency"][key]
        low, high = found["ci95"]["mean"]
        assert 0.9 * found["mean"] < low < found["mean"] < high < 1.1 * found["mean"]


@settings(max_examples=6)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(rng: random.Random) -> None:
    records = _load(40)
    records[3] = made_record(3, outcome=Outcome.HTTP_ERROR, status=500, error="boom", chunks_ms=())
    records[7] = made_record(7, chunks_ms=(50, 60, 75), tokens=(1, 3, 2))
    assert _summarize(rng.sample(records, len(records))) == _summarize(records)


def test_closing_again_gives_the_same() -> None:
    summary = Summary(_facts())
    summary.add(table_of(made_record()))
    first = summary.close()
    assert summary.close() == first
    summary.add(table_of(made_record(1)))
    assert summary.close().counts.sent == 2


def test_warm_up_is_in_no_number() -> None:
    records = [made_record(i, sent_ms=1_000 + i * 10.0) for i in range(30)]
    slow = made_record(99, sent_ms=-500, chunks_ms=(400, 450), phase="warmup", bytes_received=10**6)
    plain, warmed = _summarize(records), _summarize([slow, *records])
    assert warmed["counts"]["warmup"] == {"requests": 1, "by_outcome": {"ok": 1}}
    for key in ("latency", "throughput", "series", "distributions", "tokens", "window"):
        assert warmed[key] == plain[key]
    assert warmed["counts"]["sent"] == 30


def test_a_window_waits_for_the_end_of_warm_up() -> None:
    records = [made_record(i, sent_ms=i * 10.0) for i in range(300)]
    warm = made_record(500, sent_ms=-100, chunks_ms=(50, 900), phase="warmup")
    result = _summarize([warm, *records])
    assert 0.8 <= result["window"]["start_s"] < 0.85
    assert result["window"]["end_s"] == pytest.approx(2.99)
    assert result["steady"]["latency"]["ttft_ms"]["n"] == sum(
        i * 0.01 >= result["window"]["start_s"] for i in range(300)
    )
    assert result["steady"]["latency"]["itl_ms"]["n"] == 2 * result["steady"]["latency"]["ttft_ms"]["n"]


def test_a_window_waits_for_the_last_of_the_warm_up_whatever_came_first() -> None:
    warm = [made_record(500 + k, sent_ms=-100, chunks_ms=(end,), phase="warmup") for k, end in enumerate((200, 900))]
    for order in (warm, warm[::-1]):
        summary = Summary(_facts())
        for record in order:
            summary.add(table_of(record))
        summary.add(table_of(*(made_record(i, sent_ms=i * 10.0) for i in range(300))))
        assert 0.8 <= to_plain(summary.close())["window"]["start_s"] < 0.85


def test_steady_rates_are_of_what_arrived_inside() -> None:
    # A request every 10 ms, with three tokens 50, 60 and 70 ms after it: 100 requests and 300 tokens per second.
    result = _summarize([made_record(i, sent_ms=i * 10.0) for i in range(1_000)], ramp_s=2.0)
    steady = result["steady"]["throughput"]
    assert steady["output_tokens_per_s"] == pytest.approx(300, rel=1e-3)
    assert steady["requests_per_s"] == pytest.approx(100, rel=2e-3)
    assert steady["input_tokens_per_s"] == pytest.approx(10_000, rel=2e-3)
    # The whole run includes the start and the drain.
    assert result["throughput"]["output_tokens_per_s"] == pytest.approx(3_000 / 10.06)


def test_failures_have_no_latency_and_their_own_times() -> None:
    records = [
        made_record(0),
        made_record(1, outcome=Outcome.RESET, status=200, chunks_ms=(50, 900), error="reset by peer"),
        made_record(2, outcome=Outcome.HTTP_ERROR, status=429, chunks_ms=(), error="slow down"),
        made_record(3, outcome=Outcome.HTTP_ERROR, status=429, chunks_ms=(), error="slow down"),
        made_record(4, outcome=Outcome.CONNECT_ERROR, chunks_ms=(), sent_ns=None, error="refused"),
        made_record(5, outcome=Outcome.DROPPED, chunks_ms=(), sent_ns=None),
        made_record(6, outcome=Outcome.INTERRUPTED, status=200),
    ]
    result = _summarize(records, planned=7)
    counts = result["counts"]
    assert [counts[k] for k in ("planned", "sent", "succeeded", "failed", "interrupted", "dropped")] == [
        7,
        5,
        1,
        4,
        1,
        1,
    ]
    assert counts["by_status"] == {"none": 1, "200": 3, "429": 2}
    assert counts["by_outcome"] == {
        "ok": 1, "http_error": 2, "connect_error": 1, "reset": 1, "interrupted": 1, "dropped": 1,
    }  # fmt: skip
    assert result["latency"]["e2el_ms"]["n"] == 1
    assert result["latency"]["e2el_ms"]["max"] == 70
    assert result["latency_of_failures_ms"]["n"] == 4  # Requests cut off at the end are no failures.
    assert result["latency_of_failures_ms"]["max"] == 900
    assert result["errors"][0] == {"outcome": "http_error", "status": 429, "error": "slow down", "n": 2}
    assert sum(result["series"]["failed"]) == 4
    assert result["throughput"]["output_tokens_per_s"] * result["throughput"]["duration_s"] == pytest.approx(3)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_run_in_which_nothing_succeeded_has_every_key(count: int) -> None:
    failed = [made_record(i, outcome=Outcome.CONNECT_ERROR, chunks_ms=(), sent_ns=None) for i in range(count)]
    good = _summarize([made_record(i, sent_ms=i * 40.0) for i in range(9)], objectives=parse(["ttft<1s"]))
    result = _summarize(failed, objectives=parse(["ttft<1s"]))
    assert result.keys() == good.keys()
    assert result["series"].keys() == good["series"].keys()
    assert result["latency"]["ttft_ms"]["n"] == 0
    assert result["slo"]["held"] is (False if count else None)


def test_messages_that_differ_each_time_do_not_fill_the_memory() -> None:
    rows = [made_record(i, outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error=f"id {i}") for i in range(1_500)]
    errors = _summarize(rows)["errors"]
    assert len(errors) == 50
    assert errors[0] == {"outcome": "http_error", "status": 500, "error": "(other messages)", "n": 500}


def test_usage_that_counts_an_end_token_keeps_the_sum() -> None:
    result = _summarize([made_record(i, sent_ms=i * 10.0, n=4, output_tokens_counted=3) for i in range(10)])
    assert result["tokens"]["output"] == sum(result["series"]["output_tokens"]) == 40
    assert result["tokens"]["mismatch"] == {
        "compared": 10,
        "differ": 10,
        "share": 1,
        "off_by_one": 10,
        "usage_over_counted": pytest.approx(4 / 3),
    }


def test_tokens_of_unknown_chunks_are_spread_and_flagged() -> None:
    result = _summarize([made_record(tokens=None, n=9)])
    assert result["tokens"]["chunks"]["requests_with_unknown_tokens_a_chunk"] == 1
    assert sum(result["series"]["output_tokens"]) == 9
    assert result["latency"]["itl_ms"]["n"] == result["latency"]["chunk_gap_ms"]["n"] == 2


def test_several_tokens_a_chunk_share_its_gap() -> None:
    result = _summarize([made_record(chunks_ms=(50, 60, 90), tokens=(1, 2, 3))])
    assert result["latency"]["chunk_gap_ms"]["n"] == 2
    assert result["latency"]["itl_ms"]["n"] == 5
    assert result["latency"]["itl_ms"]["max"] == 10
    assert result["tokens"]["chunks"]["requests_with_several_tokens_a_chunk"] == 1


def test_goodput_counts_requests_that_met_every_limit() -> None:
    records = [made_record(i, sent_ms=i * 100.0, chunks_ms=(50 + 10 * (i % 2), 90, 100)) for i in range(20)]
    result = _summarize(records, objectives=parse(["ttft:p99<55ms", "error_rate<1%"]))
    assert result["goodput"]["share"] == 0.5
    assert result["goodput"]["requests_per_s"] == pytest.approx(result["throughput"]["requests_per_s"] / 2)
    assert result["goodput"]["output_tokens_per_s"] == pytest.approx(result["throughput"]["output_tokens_per_s"] / 2)
    assert result["slo"]["held"] is False
    assert [row["held"] for row in result["slo"]["objectives"]] == [False, True]
    assert _summarize(records, objectives=parse(["error_rate<1%"]))["goodput"] is None


@pytest.mark.parametrize(
    ("good_of_ten", "limit", "held", "shown"),
    [
        (10, "95%", True, "held"),
        (10, "99.9%", True, "not shown"),
        (9, "92%", False, "not shown"),
        (5, "95%", False, "failed"),
    ],
)
def test_an_objective_on_goodput_is_held_against_the_share_and_its_interval(
    good_of_ten: int, limit: str, held: bool, shown: str
) -> None:
    records = [
        made_record(i, sent_ms=i * 100.0, chunks_ms=(50 if i * 7 % 10 < good_of_ten else 60, 90, 100))
        for i in range(300)
    ]
    result = _summarize(records, objectives=parse(["ttft:p99<55ms", f"goodput>={limit}"]))
    (row,) = [row for row in result["slo"]["objectives"] if row["metric"] == "goodput"]
    assert (row["value"], row["unit"]) == (pytest.approx(good_of_ten / 10), "share")
    assert row["value"] == result["goodput"]["share"]
    low, high = row["ci95"]
    assert low <= row["value"] <= high
    assert (row["held"], row["shown"]) == (held, shown)


def test_a_message_that_is_known_is_counted_with_its_own_kind_however_many_others_came() -> None:
    texts = ["known", *(f"id {i}" for i in range(1_200)), "known"]
    rows = [made_record(i, outcome=Outcome.RESET, chunks_ms=(), error=text) for i, text in enumerate(texts)]
    counted = {row["error"]: row["n"] for row in _summarize(rows)["errors"]}
    assert (counted["known"], counted["(other messages)"]) == (2, 201)


def test_a_reply_without_a_token_chunk_has_no_tokens_and_breaks_nothing() -> None:
    result = _summarize([made_record(chunks_ms=(5, 9), kinds="ro", n=0)])
    assert result["tokens"]["chunks"]["with_tokens"] == 0
    assert result["counts"]["succeeded"] == 1


@pytest.mark.parametrize(
    ("gap_ms", "width_ms", "wide"),
    [(1, 0.09, 0), (1, 0.11, 1), (100, 0.11, 0), (100, 0.99, 0), (100, 1.01, 1)],
)
def test_a_wide_bound_is_over_a_tenth_of_a_ms_and_over_a_hundredth_of_the_median_gap(
    gap_ms: float, width_ms: float, wide: int
) -> None:
    bound_ns = START_NS + round((50 - width_ms) * MS)
    record = made_record(chunks_ms=(50, 50 + gap_ms, 50 + 2 * gap_ms), chunk_bound_ns=(bound_ns, None, None))
    assert _summarize([record])["instrument"]["stamp_bounds"]["wide"] == wide


@pytest.mark.parametrize(
    ("lost", "answers_after", "gone"),
    [(4, 0, None), (5, 0, {"since_s": 0.07, "requests": 5}), (9, 1, None)],
)
def test_a_target_is_gone_where_only_lost_connections_follow_its_last_answer(
    lost: int, answers_after: int, gone: dict[str, Any] | None
) -> None:
    dead = [made_record(i, sent_ms=100, chunks_ms=(), outcome=Outcome.RESET) for i in range(1, 1 + lost)]
    later = [made_record(90 + i, sent_ms=200, outcome=Outcome.HTTP_ERROR, chunks_ms=()) for i in range(answers_after)]
    counts = _summarize([made_record(0), *dead, *later])["counts"]
    assert counts["target_gone"] == gone


def test_a_target_that_never_answered_is_gone_from_the_start_and_nothing_was_sent() -> None:
    rows = [
        made_record(i, chunks_ms=(), outcome=Outcome.CONNECT_ERROR, sent_ns=None, connect_ns=None) for i in range(6)
    ]
    counts = _summarize([*rows, made_record(7, chunks_ms=(), outcome=Outcome.INTERRUPTED)])["counts"]
    assert counts["target_gone"] == {"since_s": None, "requests": 6}
    assert (counts["failed"], counts["failed_unsent"]) == (6, 6)


def test_cached_prompt_tokens_are_of_the_replies_that_tell_them() -> None:
    rows = [made_record(0, cached_tokens=40), made_record(1, cached_tokens=5), made_record(2)]
    assert _summarize(rows)["tokens"]["cached"] == {
        "tokens": 45, "of": 200, "share": 0.225, "share_beyond_head": 0.125
    }  # fmt: skip


def test_every_request_that_stalled_counts() -> None:
    rows = [made_record(i, chunks_ms=[*(50 + 10 * k for k in range(10)), 400]) for i in range(3)]
    assert _summarize(rows)["stalls"] == {"requests": 3, "stalls": 3, "max_ms": 260}


def test_stalls_are_told() -> None:
    record = made_record(chunks_ms=[*(50 + 10 * k for k in range(10)), 400])
    assert _summarize([record])["stalls"] == {"requests": 1, "stalls": 1, "max_ms": 260}


def test_little_s_law_holds_for_true_accounts_and_shows_a_false_one() -> None:
    def run(counted: float) -> Any:
        summary = Summary(_facts())
        phases = ("warmup" if index < 9 else "run" for index in range(200))
        summary.add(table_of(*(
            made_record(index, sent_ms=index * 10.0, chunks_ms=(50, 100), phase=phase) for index, phase in enumerate(phases)
        )))  # fmt: skip
        # Each request is in flight for 100 ms, and one begins every 10 ms: ten at a time between 0.1 and 1.9 s.
        for second in (0.5, 1.0, 1.5):
            row = {"t_ns": START_NS + round(second * S), "worker": 0, "in_flight_ns": (second * 10 - 0.5) * S * counted}
            summary.add_sample(row)
        return to_plain(summary.close().load.littles_law)

    assert run(1.0)["difference"] == pytest.approx(0, abs=1e-9)
    assert run(1.0)["records_mean"] == pytest.approx(10)
    assert run(1.02)["difference"] == pytest.approx(-0.0196, abs=1e-3)


AT_ONCE: list[tuple[str, dict[str, Any], float, float | None]] = [
    # what, the facts, ms from send to send (each takes 70 ms), requests per second of three of them
    ("as many users as requests", {"mode": "concurrency", "concurrency": 3}, 0.04, None),
    ("more users than requests", {"mode": "concurrency", "concurrency": 10}, 0.04, None),
    ("more users than requests, and quick replies", {"mode": "concurrency", "concurrency": 10}, 80.0, None),
    ("fewer users than requests", {"mode": "concurrency", "concurrency": 2}, 80.0, 12.5),
    ("all at once without a limit", {"mode": "throughput"}, 0.04, None),
    ("a limit on all at once", {"mode": "throughput", "max_concurrency": 1}, 80.0, 12.5),
    ("sessions whose turns follow each other", {"mode": "sessions", "concurrency": 10}, 80.0, 12.5),
    ("sessions that begin together", {"mode": "sessions", "concurrency": 10}, 0.04, None),
    ("users who come in one after the other", {"mode": "concurrency", "concurrency": 3, "ramp_s": 1.0}, 20.0, 50.0),
    ("a schedule", {"open_loop": True}, 20.0, 50.0),
    ("a schedule in which all are due at once", {"open_loop": True}, 0.0, None),
]


@pytest.mark.parametrize(("what", "facts", "every_ms", "rate"), AT_ONCE, ids=[row[0] for row in AT_ONCE])
def test_requests_that_waited_for_nothing_have_no_rate(
    what: str, facts: dict[str, Any], every_ms: float, rate: float | None
) -> None:
    records = [made_record(i, sent_ms=i * every_ms) for i in range(3)]
    if facts.get("open_loop") and not every_ms:  # Sent as fast as the loop allows.
        records = [replace(record, sent_ns=START_NS + i * 40_000) for i, record in enumerate(records)]
    found = _summarize(records, **({"open_loop": False} | facts))["load"]["achieved_rps"]
    assert found == (None if rate is None else pytest.approx(rate))


def test_load_says_how_it_was_and_how_it_was_planned() -> None:
    records = [made_record(i, sent_ms=i * 10.0, intended_ns=START_NS + i * 10 * MS - (i % 2) * MS) for i in range(400)]
    load = _summarize(records, offered_rps=100.0, max_concurrency=9)["load"]
    assert load["achieved_rps"] == pytest.approx(100)
    assert load["concurrency_max"] == 7
    assert load["plan"]["rate_difference"] == pytest.approx(0, abs=1e-3)
    assert load["plan"]["dispersion_ratio"] == pytest.approx(1)
    assert load["waited_at_cap"]["share"] == 0.5
    assert load["waited_at_cap"]["wait_ms"]["max"] == 1
    closed = _summarize(records, mode="concurrency", open_loop=False, concurrency=9)["load"]
    assert closed["plan"] is closed["waited_at_cap"] is None


def test_stamps_say_what_they_are_worth() -> None:
    wide = (START_NS + 40 * MS, None, START_NS + 69 * MS)
    records = [
        made_record(0, chunk_bound_ns=wide, coalesced=2, clock="kernel"),
        made_record(1, clock="user", attempts=2),
    ]
    result = _summarize(records)
    assert result["instrument"]["clock"] == {"kernel": 1, "user": 1, "mixed": 0}
    assert result["instrument"]["coalesced"] == {"chunks": 2, "of": 6, "share": pytest.approx(1 / 3)}
    bounds = result["instrument"]["stamp_bounds"]
    assert (bounds["chunks"], bounds["wide"], bounds["wide_share"]) == (2, 2, pytest.approx(1 / 3))
    assert bounds["width_ms"]["max"] == 10
    assert result["counts"]["retried"] == 1


def test_the_order_of_the_records_does_not_move_an_interval() -> None:
    records = _load(80)
    one, other = (_summarize(rows)["latency"] for rows in (records, records[::-1]))
    assert one["ttft_ms"]["ci95"]["p50"] is not None
    assert one == other


def test_a_response_that_is_not_streamed_counts_its_tokens_at_its_end() -> None:
    records = [
        made_record(i, sent_ms=i * 10.0, chunks_ms=(), n=20, end_ns=START_NS + (i * 10 + 1_500) * MS) for i in range(9)
    ]
    result = _summarize(records)
    assert result["series"]["output_tokens"] == [0, 180]
    assert result["latency"]["e2el_ms"]["p50"] == 1_500
    assert result["latency"]["ttft_ms"]["n"] == result["latency"]["itl_ms"]["n"] == 0


def test_usage_that_was_not_believed_is_counted_among_that_which_there_was() -> None:
    def record(index: int, **fields: Any) -> RequestRecord:
        return made_record(index, sent_ms=index, **fields)

    records = [record(i) for i in range(6)]
    records += [record(7, usage_contradiction="seven", output_tokens_from="chunks")]
    records += [record(6, usage_contradiction="six", output_tokens_from="tokenizer")]
    records += [record(8, output_tokens_from="chunks")]  # This server reported no usage.
    records += [record(9, usage_contradiction="of a failure", outcome=Outcome.RESET)]
    expected = {"judged": 8, "requests": 2, "share": 0.25, "first": "six"}
    assert _summarize(records)["tokens"]["contradicted"] == expected
    assert _summarize(records[::-1])["tokens"]["contradicted"] == expected


@pytest.mark.parametrize("tokens", [(1, 1, 1), None])
def test_hidden_reasoning_arrives_with_the_first_chunk_and_is_in_every_rate(tokens: tuple[int, ...] | None) -> None:
    chunks = [500.0, 2_500.0, 4_500.0]
    result = _summarize([made_record(chunks_ms=chunks, tokens=tokens, n=43, reasoning_tokens=40)])
    assert result["series"]["output_tokens"] == [41, 0, 1, 0, 1]
    assert result["tokens"]["output"] == 43
    assert result["latency"]["tpot_ms"]["p50"] == pytest.approx(2_000)


def test_every_part_of_a_summary_is_made_of_the_records_that_it_is_about() -> None:
    rows = [
        *(made_record(10 + k, phase="warmup", end_ns=START_NS + end * MS) for k, end in enumerate((90, 80))),
        *two_agents(session_turns=4),
        made_record(4, sent_ms=100, media_bytes=7, server_queue_ms=2.0, model="m", target="b", bytes_received=30),
        made_record(5, sent_ms=100, chunks_ms=(50,), outcome=Outcome.CANCELLED, bytes_received=0),
        made_record(
            6,
            sent_ms=100,
            chunks_ms=(),
            bytes_received=50,
            end_ns=START_NS + 1_250 * MS,
            n=2,
            attempts=2,
            resent_ns=START_NS + 120 * MS,
        ),
        made_record(7, sent_ms=100, chunks_ms=(9,), intended_ns=START_NS, bytes_received=10, cached_tokens_planned=4),
    ]
    summary = Summary(_facts(open_loop=False, replicas="reply", model="m", models=("m", "n"), inputs_are="texts"))
    summary.add(table_of(*rows[:2]))
    summary.add(table_of(*rows[2:], made_record(8, sent_ms=100, chunks_ms=(), inputs=3, usage_contradiction="no")))
    found = summary.close()
    counts, none = found.counts, Summary(_facts()).close().counts
    assert (counts.warmup.requests, counts.sent, counts.cancelled, counts.retried_late) == (2, 9, 1, 1)
    assert (none.cancelled, none.retried_late, none.sent) == (None, None, 0)
    assert found.jobs is not None
    assert found.sessions is not None
    assert (found.jobs.job_s.n, found.sessions.held) == (1, 1)
    assert (found.media and found.media.requests, found.cancelled and found.cancelled.requests) == (1, 1)
    assert found.server_requests is not None
    assert (found.inputs and found.inputs.total, found.tokens.contradicted.requests) == (3, 1)
    assert found.load.ready_not_sent is not None
    assert {part.name: part.sent for part in found.per_target or ()} == {"(not named)": 8, "b": 1}
    assert {part.name: part.sent for part in found.models or ()} == {"m": 9}
    # The bytes of a stream count with its chunks, the bytes of a whole reply at its end.
    assert found.series.bytes_in[1] == 50 + 200
    assert sum(found.series.bytes_in) == sum(record.bytes_received for record in rows[2:])
    byte = _summarize([made_record(chunks_ms=(), bytes_received=1, end_ns=START_NS + 90 * MS)])
    assert byte["series"]["bytes_in"] == [1]
    assert summary.page_data().requests is not None
    assert summary.cache_plan.against(0.5) is not None
    chat = Summary(_facts())
    chat.add(table_of(*rows))
    assert chat.close().compat["vllm"].output_tokens == chat.close().tokens.output > 0
    assert chat.close().load.ready_not_sent is None
