"""The facts of a report about requests, the load, the steady window and the client: each has a number, or is left out."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import answers_section, calibration_words, details, jobs
from bench.documents.document import Fact
from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.summary import ObjectiveResult, RunSummary
from tests.support.results import filled


def values(facts: list[Fact]) -> dict[str, str]:
    return {fact.name: fact.value for fact in facts}


def test_settings_are_flat_and_empty_ones_are_left_out() -> None:
    settings = {
        "a": {"b": {"c": 1.5}, "d": None, "e": ""}, "yes": True, "no": False, "list": [1, "x"], "none": [], "zero": 0,
        "g": 2.0,
    }  # fmt: skip
    said = {"yes": "yes", "no": "no", "list": "1, x", "zero": "0", "g": "2"}
    assert values(details.flat(settings)) == {"a.b.c": "1.5"} | said
    assert values(details.joined({**settings, "empty": {"x": None}})) == {"a": "b.c 1.5"} | said


REQUESTS = {"Planned": "–", "Sent": "0", "Succeeded": "0", "Failed": "0"}


@pytest.mark.parametrize(
    ("counts", "more", "said"),
    [
        ({}, {}, {}),
        ({"planned": 9, "sent": 8, "succeeded": 6, "failed": 2}, {},
         {"Planned": "9", "Sent": "8", "Succeeded": "6", "Failed": "2 (25%)"}),
        ({"failed_unsent": 1, "interrupted": 2, "cancelled": 3, "dropped": 4, "retried": 5}, {},
         {"Failed and not sent": "1", "Interrupted": "2", "Cancelled": "3", "Dropped": "4", "Sent again": "5"}),
        ({"target_gone": {"since_s": None, "requests": 1}}, {}, {"Target gone": "it never answered, then 1 request lost"}),
        ({"target_gone": {"since_s": 2.5, "requests": 2}}, {},
         {"Target gone": "last answer at 2.5 s, then 2 requests lost"}),
        ({"warmup": {"requests": 7}}, {}, {"Warm-up": "7"}),
        ({}, {"latency_of_failures_ms": {"n": 1, "p50": 2.5, "max": 3}},
         {"Time until failure": "median 2.500 ms · max 3 ms"}),
        ({}, {"stalls": {"stalls": 3, "requests": 1, "max_ms": 250.5}}, {"Stalls": "3 in 1 request, longest 250.5 ms"}),
        ({}, {"cancelled": {"token_chunks": 1234, "token_chunks_per_s": 2.5, "with_tokens": 3}},
         {"Received by them": "1,234 token chunks (2.500/s) to 3"}),
        ({}, {"cancelled": {"token_chunks": 0, "token_chunks_per_s": 0, "with_tokens": 0}, "inputs": {"are": "images"}}, {}),
    ],
)  # fmt: skip
def test_requests_are_counted_by_how_they_ended(
    counts: dict[str, Any], more: dict[str, Any], said: dict[str, str]
) -> None:
    summary = filled(RunSummary, {"counts": counts, "cancelled": None, **more})
    assert values(details.counts(summary)) == REQUESTS | said


def test_a_warm_up_that_the_run_ended_says_when() -> None:
    def meaning(warmup: dict[str, Any] | None) -> str:
        summary = filled(RunSummary, counts={"warmup": {"requests": 1}}, run={"warmup": warmup}, cancelled=None)
        return details.counts(summary)[-1].meaning

    assert meaning(None) == "Sent before the run; not in its numbers."
    assert meaning({"lasted_s": 12.5}).endswith(" The run found its end after 12.5 s.")


LOAD = {"Mode": "rate", "Achieved": "– requests/s", "In flight": "average – · max 0"}


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ({}, {}),
        ({"offered_rps": 12.5, "achieved_rps": 12.25}, {"Offered": "12.50 requests/s", "Achieved": "12.25 requests/s"}),
        ({"concurrency": 8, "concurrency_mean": 7.5, "concurrency_max": 8},
         {"Users": "8", "In flight": "average 7.500 · max 8"}),
        ({"ready_not_sent": {"share": 0.0125, "longest_ms": 3}}, {"Ready and not sent": "1.25% · max 3 ms"}),
        ({"waited_at_cap": {"share": 0.5}}, {"Waited at the cap": "50% of the arrivals"}),
        ({"plan": {"rate_difference": -0.0125, "dispersion_ratio": None}}, {"Sent against planned": "rate -1.25%"}),
        ({"plan": {"rate_difference": None, "dispersion_ratio": 1.25}},
         {"Sent against planned": "rate – · dispersion × 1.250"}),
    ],
)  # fmt: skip
def test_the_load_is_told_as_it_was_asked_for_and_as_it_was(load: dict[str, Any], said: dict[str, str]) -> None:
    assert values(details.load(filled(RunSummary, load={"mode": "rate", **load}))) == LOAD | said


@pytest.mark.parametrize(
    ("achieved", "sent", "said"),
    [(None, 1, "– requests/s"), (None, 2, "– requests/s (all sent at once)"), (2.5, 2, "2.500 requests/s")],
)
def test_several_requests_without_a_rate_were_sent_at_once(achieved: float | None, sent: int, said: str) -> None:
    summary = filled(RunSummary, load={"achieved_rps": achieved}, counts={"sent": sent})
    assert details.sent_rate(summary) == said


def test_the_steady_window_says_how_its_halves_differ() -> None:
    none = filled(RunSummary, window={"start_s": None, "method": "none: too few requests"})
    assert details.window(none) == [Fact("Steady window", "none", "Too few requests.")]
    tests = {"ttft_ms": {"change": 0.05, "p": 0.5}, "e2el_ms": {"change": -0.1, "p": 0.025}, "tpot_ms": None}
    window: dict[str, Any] = {"start_s": 2.5, "end_s": 30.0, "method": "MSER"}
    assert values(details.window(filled(RunSummary, window=window | {"stationarity": None}))) == {
        "Steady window": "2.5 s to 30.0 s"
    }
    (_, halves) = details.window(filled(RunSummary, window=window | {"stationarity": tests}))
    assert (halves.value, halves.meaning) == (
        "TTFT +5.00% · E2EL -10.00%", "Chance alone does that in 2.50% of steady windows.",
    )  # fmt: skip


CLIENT = {
    "Send lateness": "–",
    "Loop lag": "–",
    "Time stamps": "–",
    "Chunks that shared a read": "–",
    "Little's law": "–",
}


@pytest.mark.parametrize(
    ("instrument", "said"),
    [
        ({}, {}),
        ({"send_lateness_ms": {"n": 1, "p50": 0.5, "p99": 1, "max": 2}, "loop_lag_ms": {"n": 1, "p99": 3, "max": 4}},
         {"Send lateness": "median 0.500 ms · P99 1 ms · max 2 ms", "Loop lag": "P99 3 ms · max 4 ms"}),
        ({"clock": {"kernel": 1234, "user": 1}}, {"Time stamps": "kernel 1,234, user 1"}),
        ({"coalesced": {"share": 0.5}}, {"Chunks that shared a read": "50%"}),
        ({"pause": {"longest_ms": 12.5, "share_of_run": 0.25}}, {"Longest pause": "12.50 ms · 25% of the run"}),
        ({"pause": {"longest_ms": 12.5, "share_of_run": None}}, {}),
        ({"cpu": {"mean": 0.5, "max": 0.75}}, {"Processor": "average 50% · max 75%"}),
        ({"run_queue": {"mean": 0.0125}}, {"Waited for a processor": "1.25%"}),
        ({"stolen": {"share": 0.0125}}, {"Stolen processor time": "1.25%"}),
        ({"stolen": {"share": 0.0}}, {}),
        ({"connect_ms": {"n": 1234, "p50": 0.5, "max": 2}}, {"New connections": "1,234 · median 0.500 ms · max 2 ms"}),
    ],
)  # fmt: skip
def test_the_client_says_whether_it_was_fast_enough(instrument: dict[str, Any], said: dict[str, str]) -> None:
    summary = filled(RunSummary, instrument={"cpu": None, "run_queue": None, "stolen": None, **instrument}, inputs=None)
    assert values(details.client(summary)) == CLIENT | said


def test_a_client_without_tokens_has_no_chunks_and_names_its_priority() -> None:
    parts = {
        "instrument": {"cpu": None, "run_queue": None, "stolen": None},
        "load": {"littles_law": {"difference": 0.0125}},
    }
    summary = filled(RunSummary, {**parts, "run": {"priority": "normal"}, "inputs": {"are": "texts"}})
    assert values(details.client(summary)) == {
        "Send lateness": "–", "Loop lag": "–", "Time stamps": "–", "Little's law": "+1.25%", "Scheduling priority": "normal",
    }  # fmt: skip


def test_a_calibration_says_lags_and_sums_of_both_sides() -> None:
    lag = {"n": 1, "p50": 0.5, "p99": 1, "max": 2}
    sums = [{"what": "requests", "here": 1234, "there": 1234}, {"what": "chunks", "here": 5, "there": 6}]
    found = filled(
        LedgerCalibration,
        {"observation_lag_ms": lag, "way_in_ms": {"n": 0}, "mock": {"done_minus_planned_ms": lag}, "agreement": sums},
    )
    text = "median 0.500 ms · P99 1 ms · max 2 ms"
    assert [(fact.name, fact.value, fact.meaning[:10]) for fact in details.calibration(found)] == [
        ("Observation lag", text, "The client"), ("The mock's own accuracy", text, "The mock's"),
        ("Requests", "1,234", ""), ("Chunks", "5 here, 6 there", "Must agree"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("are", "rates", "latencies"),
    [
        (None, ["requests_per_s", "output_tokens_per_s", "input_tokens_per_s", "total_tokens_per_s"],
         {"ttft", "itl", "e2el"}),
        ("texts", ["requests_per_s", "inputs_per_s", "input_tokens_per_s"], {"e2el"}),
        ("requests", ["requests_per_s"], {"e2el", "ttfb"}),
    ],
)  # fmt: skip
def test_a_run_has_the_rates_and_latencies_of_what_comes_back(
    are: str | None, rates: list[str], latencies: set[str]
) -> None:
    summary = filled(RunSummary, inputs=None if are is None else {"are": are})
    assert [*details.rate_names(summary)] == rates
    found = details.latencies(summary)
    assert {"ttft", "itl", "e2el", "ttfb"} & found.keys() == latencies
    assert found["e2el"].description.endswith("its whole reply has arrived.") is (are is not None)
    if are == "texts":
        assert details.rate_names(summary)["inputs_per_s"] == ("Inputs (texts)", "texts/s")


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"shown": "held", "value": 1}, ""),
        ({"shown": "not shown", "value": None}, ""),
        ({"shown": "not shown", "value": 1, "stat": "max"}, ""),
        ({"shown": "not shown", "value": 1, "between": [0.5, 2]}, "not shown: the stamps leave it open"),
        ({"shown": "not shown", "value": 1}, "not shown: too few independent values"),
        ({"shown": "not shown", "value": 1, "ci95": [0.5, 2], "unit": "ms"}, "not shown: 95% interval 0.500 ms to 2 ms"),
    ],
)  # fmt: skip
def test_an_objective_says_why_its_interval_does_not_show_it(objective: dict[str, Any], words: str) -> None:
    assert details.uncertainty(filled(ObjectiveResult, objective)) == words


@pytest.mark.parametrize(
    ("reason", "planned", "said"),
    [
        ("requests", 9, []),
        (None, 9, []),
        ("interrupted", 1234, ["The run was interrupted after 5 of 1,234 requests: the numbers are about these."]),
        ("killed", None, ["The run was killed, or its disk was full, after 5 requests: the numbers are about these."]),
    ],
)
def test_a_run_that_ended_early_says_after_how_many_requests(
    reason: str | None, planned: int | None, said: list[str]
) -> None:
    # The headline also counts the 2 requests that could not be sent because connecting failed.
    counts = {"planned": planned, "sent": 3, "failed_unsent": 2}
    assert details.ended_early(filled(RunSummary, run={"stop_reason": reason}, counts=counts)) == said


def test_a_run_that_failed_names_its_most_frequent_errors() -> None:
    def errors(status: str) -> list[str]:
        rows = [
            ("reset", None, 3), ("timeout", "x" * 300, 2), ("http_error", "busy", 2), ("truncated", "busy", 2),
            ("other", "y", 1), ("interrupted", "cut when the run was stopped", 9),
        ]  # fmt: skip
        listed = [{"outcome": outcome, "error": error, "n": n} for outcome, error, n in rows]
        return details.failures(filled(RunSummary, verdict={"status": status}, errors=listed))

    assert errors("FAILED") == ["4 failed: busy", "3 failed: reset", f"2 failed: {'x' * 200}"]
    assert errors("INVALID") == []


@pytest.mark.parametrize(("foreign", "said"), [(0, []), (1, ["1 answer has"]), (3, ["3 answers have"])])
def test_answers_with_the_code_word_of_another_request_are_counted(foreign: int, said: list[str]) -> None:
    blocks = answers_section.findings(filled(RunSummary, answers={"foreign": foreign}))
    found = [finding.text for block in blocks for finding in block.sentences]
    assert found[:-1] == [f"cross-talk: {words} another request's code word" for words in said]


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ({"held": 1234, "whole": 5}, {"Sessions": "1,234 · 5 whole"}),
        ({"held": 9, "failed": 2, "unfinished": 1, "begun_in_middle": 3, "offered_per_s": 2.5, "turns_not_sent": 7},
         {"Sessions": "9 · 0 whole · 2 failed · 1 unfinished · 3 begun in their middle", "New sessions": "2.500/s",
          "Turns not sent": "7"}),
    ],
)  # fmt: skip
def test_sessions_are_counted_by_how_they_ended(sessions: dict[str, Any], said: dict[str, str]) -> None:
    assert values(jobs._rows_of_sessions(filled(RunSummary, sessions=sessions))) == said


@pytest.mark.parametrize("earlier", [None, {"status": "VALID", "age_s": 60, "metrics": ()}])
def test_the_error_of_the_numbers_is_a_whole_sentence(earlier: dict[str, Any] | None) -> None:
    words = calibration_words.certainty(None if earlier is None else filled(KnownCalibration, earlier))
    assert words.startswith("Error of these numbers")
    assert words.endswith(").")
