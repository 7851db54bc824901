"""When a step holds, which limit fails first, and where a climb ends: tables over hand-made summaries."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.limits import measure
from bench.limits.ladder import (
    CLIENT_SIGNS,
    LADDERS,
    NO_MORE,
    NO_TIME,
    Climb,
    Ladder,
    Step,
    climb_of,
    first_cause,
    judge_step,
    next_load,
)
from bench.limits.measure import Server, load_of
from bench.observer import Observer
from bench.results.summary import RunSummary
from bench.series.drive import End
from bench.verdict import SIGNS
from bench.verdict.finding import Finding, Status, Verdict
from tests.support.results import filled

STREAMS = Ladder("", "chunks/s", "streams", 20.0, (10, 20))
RATE = Ladder("", "requests/s", "rate", 20.0, (10, 20))


def summary(**changes: Any) -> Any:
    """The summary of a good step of ten streams: a chunk every 20 ms, and half a processor used."""
    numbers: dict[str, Any] = {
        "chunk_gap_ms": 20.0,
        "ttft_ms": 20.0,
        "duration_s": 2.0,
        "cpu": 0.5,
        "p50": 0.1,
        "p99": 0.3,
    }
    numbers |= {"output_tokens_per_s": 490.0, **changes}
    content = {
        "latency": {name: {"mean": numbers[name]} for name in ("chunk_gap_ms", "ttft_ms")},
        "throughput": {name: numbers[name] for name in ("duration_s", "output_tokens_per_s")},
        "load": {"achieved_rps": 9.8},
        "instrument": {
            "cpu": None if numbers["cpu"] is None else {"mean": numbers["cpu"]},
            "send_lateness_ms": {"n": 5, "p50": numbers["p50"], "p99": numbers["p99"]},
        },
    }
    return filled(RunSummary, content)


def verdict(*signs: str, status: Status = Status.SUSPECT) -> Verdict:
    findings = [Finding(sign, status, 1.0, f"{sign} speaks") for sign in signs]
    return Verdict(status if findings else Status.VALID, tuple(findings))


def step(cause: str | None = None, *, asked: int = 10, load: float = 500.0, disturbed: bool = False) -> Step:
    return Step(
        asked=asked,
        load=load,
        client_cpu=0.5,
        server_cpu=0.2,
        lateness_ms=None,
        disturbed=disturbed,
        signs={},
        cause=cause,
    )


@pytest.mark.parametrize(
    ("what", "signs", "server_cpu", "off", "cause"),
    [
        ("nothing speaks", [], 0.5, 0.01, None),
        ("nothing is known of the server", [], None, None, None),
        ("a busy client", ["cpu"], 0.5, 0.0, CLIENT_SIGNS["cpu"]),
        ("a busy client makes a server beside it slow", ["cpu"], 0.95, 0.3, CLIENT_SIGNS["cpu"]),
        ("a busy server", [], 0.91, 0.0, "the mock"),
        ("a server that is busy to the limit", [], 0.9, 0.0, None),
        ("a server that is too slow", [], 0.5, 0.06, "the mock"),
        ("a server that is too fast", [], None, -0.06, "the mock"),
        ("a server whose pace is off to the limit", [], 0.5, 0.05, None),
        ("a late server explains wide bounds", ["wide_stamps"], 0.99, 0.2, "the mock"),
        ("wide bounds", ["wide_stamps"], 0.5, 0.0, CLIENT_SIGNS["wide_stamps"]),
        ("the most telling sign comes first", ["wide_stamps", "send_lateness"], 0.5, 0.0, CLIENT_SIGNS["send_lateness"]),
        ("other programs are not the client", ["run_queue"], 0.5, 0.0, None),
    ],
)  # fmt: skip
def test_what_gave_way(
    what: str, signs: list[str], server_cpu: float | None, off: float | None, cause: str | None
) -> None:
    assert first_cause(signs, server_cpu, off, "the mock") == cause, what


@pytest.mark.parametrize("sign", CLIENT_SIGNS)
def test_each_sign_of_the_client_ends_a_climb_and_is_a_sign_of_the_verdict(sign: str) -> None:
    assert sign in SIGNS
    assert judge_step(STREAMS, 10, summary(), verdict(sign), "the mock", 0.2).cause == CLIENT_SIGNS[sign]


def test_a_sign_that_is_valid_does_not_speak() -> None:
    assert judge_step(STREAMS, 10, summary(), verdict("cpu", status=Status.VALID), "the mock", 0.2).cause is None


def test_an_invalid_sign_speaks_too() -> None:
    assert (
        judge_step(STREAMS, 10, summary(), verdict("cpu", status=Status.INVALID), "the mock", 0.2).cause
        == CLIENT_SIGNS["cpu"]
    )


def test_wide_bounds_do_not_count_where_a_reply_is_one_read() -> None:
    late = judge_step(RATE, 10, summary(), verdict("wide_stamps", "send_lateness"), "the mock", 0.2)
    assert late.cause == CLIENT_SIGNS["send_lateness"]
    assert judge_step(RATE, 10, summary(), verdict("wide_stamps"), "the mock", 0.2).cause is None
    assert (
        judge_step(STREAMS, 10, summary(), verdict("wide_stamps"), "the mock", 0.2).cause == CLIENT_SIGNS["wide_stamps"]
    )


def test_other_programs_disturb_a_step_and_do_not_end_it() -> None:
    found = judge_step(STREAMS, 10, summary(), verdict("run_queue"), "the mock", 0.2)
    assert (found.disturbed, found.cause) == (True, None)


def test_the_servers_share_of_a_processor_is_its_time_over_the_time_of_the_load() -> None:
    assert judge_step(STREAMS, 10, summary(duration_s=4.0), verdict(), "the mock", 1.0).server_cpu == 0.25
    assert judge_step(STREAMS, 10, summary(duration_s=2.0), verdict(), "the mock", 1.9).cause == "the mock"
    assert judge_step(STREAMS, 10, summary(duration_s=0.0), verdict(), "the mock", 1.9).server_cpu is None
    assert judge_step(STREAMS, 10, summary(), verdict(), "the mock", None).server_cpu is None
    assert judge_step(STREAMS, 10, summary(), verdict(), "the mock", 1.0).client_cpu == 0.5


def test_what_a_run_could_not_measure_is_not_known_of_a_step() -> None:
    nothing = summary(chunk_gap_ms=None, ttft_ms=None, cpu=None, p50=None, output_tokens_per_s=None)
    found = judge_step(STREAMS, 10, nothing, verdict(), "the mock", 0.2)
    assert (found.load, found.client_cpu, found.cause) == (0.0, None, None)
    assert judge_step(RATE, 10, nothing, verdict(), "the mock", 0.2).lateness_ms is None
    assert judge_step(RATE, 10, summary(p99=None), verdict(), "the mock", 0.2).lateness_ms is None


def test_the_pace_is_the_gap_of_streams_and_the_first_token_of_short_requests() -> None:
    slow_gaps, slow_first = summary(chunk_gap_ms=22.0), summary(ttft_ms=22.0)
    assert judge_step(STREAMS, 10, slow_gaps, verdict(), "the mock", 0.2).cause == "the mock"
    assert judge_step(STREAMS, 10, slow_first, verdict(), "the mock", 0.2).cause is None
    assert judge_step(RATE, 10, slow_first, verdict(), "the mock", 0.2).cause == "the mock"
    assert judge_step(RATE, 10, slow_gaps, verdict(), "the mock", 0.2).cause is None


def test_a_load_is_measured_and_streams_are_those_asked_for() -> None:
    assert judge_step(STREAMS, 10, summary(), verdict(), "s", 0.2).load == 490.0
    assert judge_step(RATE, 10, summary(), verdict(), "s", 0.2).load == 9.8
    assert judge_step(LADDERS["streams"], 2500, summary(), verdict(), "s", 0.2).load == 2500.0


def test_lateness_is_told_of_open_loops_alone() -> None:
    assert judge_step(RATE, 10, summary(), verdict(), "s", 0.2).lateness_ms == (0.1, 0.3)
    assert judge_step(STREAMS, 10, summary(), verdict(), "s", 0.2).lateness_ms is None


BUSY = step("the mock", disturbed=True)


@pytest.mark.parametrize(
    ("steps", "following", "asked"),
    [
        ([], 10, []),
        ([step()], 20, [10]),
        ([step(), step(asked=20)], End(NO_MORE), [10, 20]),
        ([step("the mock")], End("the mock"), [10]),
        ([step(), step(CLIENT_SIGNS["cpu"], asked=20)], End(CLIENT_SIGNS["cpu"]), [10, 20]),
        ([step(disturbed=True)], 20, [10]),
        # A step that fails while other programs are busy is repeated once, and only once.
        ([BUSY], 10, []),
        ([BUSY, BUSY], End("the mock"), [10]),
        ([BUSY, step()], 20, [10]),
        ([BUSY, step(), step("the mock", asked=20, disturbed=True)], 20, [10]),
    ],
)
def test_which_load_is_next_and_where_a_climb_ends(steps: list[Step], following: int | End, asked: list[int]) -> None:
    assert next_load(STREAMS, steps, time_is_over=False) == following
    assert next_load(STREAMS, steps, time_is_over=True) == (following if isinstance(following, End) else End(NO_TIME))
    assert [taken.asked for taken in climb_of(steps, "the mock").steps] == asked


def test_a_load_that_was_tried_twice_counts_as_the_second_time_found_it() -> None:
    assert climb_of([BUSY, step()], NO_MORE) == Climb(steps=(step(),), ended=NO_MORE)


def test_the_ceiling_is_the_highest_load_that_held() -> None:
    climbed = Climb(steps=(step(), step(load=900.0), step("the mock", load=1200.0)), ended="the mock")
    assert climbed.held == 900.0
    assert Climb(steps=(step("the mock"),), ended="the mock").held is None


@pytest.mark.parametrize(("ended", "client"), [(CLIENT_SIGNS["cpu"], True), ("the mock", False), (NO_MORE, False)])
def test_a_ceiling_is_the_clients_own_only_where_the_client_gave_way(ended: str, client: bool) -> None:
    assert Climb(steps=(step(),), ended=ended).client_limited is client


@pytest.mark.parametrize("name", LADDERS)
def test_loads_double_and_a_quick_ladder_has_every_other_step(name: str) -> None:
    ladder = LADDERS[name]
    assert [b / a for a, b in zip(ladder.steps, ladder.steps[1:], strict=False)] == [2.0] * (len(ladder.steps) - 1)
    assert ladder.quick().steps == ladder.steps[::2]
    # The title states the pace. Beyond these loads, one worker needs more than most machines have.
    begins = {"chunks": (500, 4000), "requests": (1000, 8000), "streams": (2500, 10000)}
    assert (ladder.steps[0], ladder.steps[-1]) == begins[name]
    assert ladder.gap_ms == (500.0 if name == "streams" else 20.0)


@pytest.mark.parametrize(
    ("ladder", "asked", "step_s", "settings"),
    [
        # A token every 20 ms for 2.2 s; the streams begin over one gap.
        (STREAMS, 10, 2.2, {"concurrency": 10, "requests": 10, "output_tokens": "110"}),
        (STREAMS, 10, 30.0, {"requests": 10, "output_tokens": "1500"}),
        (LADDERS["streams"], 50, 0.7, {"concurrency": 50, "requests": 50, "output_tokens": "2"}),
        # A quarter of a second of load is in flight, but at least 64 requests.
        (RATE, 1000, 1.1, {"rate": 1000.0, "max_concurrency": 250, "lasts_s": 1.1, "output_tokens": "1"}),
        (RATE, 260, 1.1, {"rate": 260.0, "max_concurrency": 65, "output_tokens": "1"}),
        (RATE, 100, 1.1, {"rate": 100.0, "max_concurrency": 64, "output_tokens": "1"}),
    ],
)
def test_the_run_of_a_step(ladder: Ladder, asked: int, step_s: float, settings: dict[str, Any], tmp_path: Path) -> None:
    config = load_of(ladder, asked, "http://127.0.0.1:1", step_s, tmp_path)
    assert {name: getattr(config, name) for name in settings} == settings
    assert (config.url, config.name, config.workers, config.quiet) == ("http://127.0.0.1:1", "limits", "1", True)
    assert (config.server_metrics, config.gpu_metrics) == (("off",), "off")
    if ladder.kind == "streams":
        assert getattr(config.load, "ramp_ns", None) == ladder.gap_ms * 1e6
    assert config.dataset is not None
    assert [json.loads(line) for line in Path(config.dataset).read_text().splitlines()] == [{"prompt": "Say hello."}]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (step(load=12_345.6), "  12,346 chunks/s: holds"),
        (step("the mock"), "  500 chunks/s: limited by the mock"),
        (replace(step(), lateness_ms=(0.123, 4.567)), "  500 chunks/s, sends late by p50 0.12 p99 4.57 ms: holds"),
    ],
)
def test_each_step_is_told(found: Step, line: str) -> None:
    assert measure._step_line(STREAMS, found) == line


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
def test_the_servers_may_open_as_many_files_as_the_most_streams_need(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(measure, "SERVERS", {})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 12_000:
        pytest.skip("the hard limit is too low")
    for quick in (False, True):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_000, before[1]))
        try:
            assert measure.measure(quick=quick, observer=Observer()).quick is quick
            assert 10_000 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 12_000
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_processor_time_is_that_of_the_program_and_not_of_those_that_it_waited_for() -> None:
    # proc(5): the state is the 3rd field, utime and stime the 14th and 15th, those of children follow.
    fields = " ".join(str(10**number) for number in range(4, 20))
    assert measure.ticks_of(f"7 (a (b) c) S {fields}") == 10**14 + 10**15


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_processor_time_of_a_server_is_that_of_its_process() -> None:
    before = sum(os.times()[:2])
    used = Server("", os.getpid()).cpu_s()
    after = sum(os.times()[:2])
    assert used is not None
    assert before - 0.02 <= used <= after + 0.02  # Two numbers, each in ticks of 10 ms.
    assert Server("", 1 << 30).cpu_s() is None
