"""Observed times of a server: their distribution, the correlation within a request, and the effect of the load."""

from __future__ import annotations

import json
import re
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mockserver.cli import read_arguments
from mockserver.config import MockConfig
from mockserver.engine import ENGINES, EngineRequest
from mockserver.engine.timeline import TimelineEngine
from mockserver.errors import UsageError
from mockserver.expect import EXPECTATIONS, RequestLengths
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import Plan, ReplyLength, draw_plan
from mockserver.rng import stream
from mockserver.sampled_times import SampledTimes, parse_sampled_times, sampled_times_of

MS = 1_000_000
TIMES = Path(__file__).parents[2] / "support" / "made_times.json"
ROW: dict[str, Any] = json.loads(TIMES.read_text())


def times(**changes: Any) -> SampledTimes:
    return sampled_times_of({**ROW, **changes}, "seen.json")


def test_a_ttft_is_a_quantile_and_what_its_prompt_adds() -> None:
    assert [times().ttft(share, 100) for share in (0, 0.25, 0.5, 0.75, 1)] == [at * MS for at in (42, 47, 52, 72, 92)]


def requests(seen: SampledTimes, count: int = 400, tokens: int = 60) -> list[tuple[int, ...]]:
    return [seen.gaps(tokens, stream(1, "itl", n)) for n in range(count)]


def test_gaps_have_the_distribution_that_is_given_however_they_hang_together() -> None:
    for changes in ({"between": 0.0, "follows": 0.0}, {}, {"between": 0.2, "follows": -0.6}):
        every = sorted(gap for gaps in requests(times(**changes), count=1000) for gap in gaps)
        assert 5 * MS <= every[0] <= every[-1] <= 30 * MS
        # A request's own score affects all of its gaps, so 1,000 requests are only 1,000 draws of it.
        for share, at in ((1 / 3, 10), (2 / 3, 11)):
            below = sum(gap <= at * MS for gap in every) / len(every)
            assert below == pytest.approx(share, abs=0.03)


def test_what_is_between_requests_makes_their_means_differ() -> None:
    def spread(between: float) -> float:
        return statistics.stdev(statistics.fmean(gaps) for gaps in requests(times(between=between, follows=0.0)))

    apart, none, all_of_it = spread(0.4), spread(0.0), spread(1.0)
    whole = statistics.stdev(gap for gaps in requests(times(between=0.0)) for gap in gaps)
    assert none == pytest.approx(whole / 60**0.5, rel=0.15)
    assert all_of_it == pytest.approx(whole, rel=0.15)
    assert 2 * none < apart < all_of_it


def test_a_gap_follows_the_one_before() -> None:
    def lag(follows: float) -> float:
        found = requests(times(between=0.0, follows=follows))
        pairs = [(a, b) for gaps in found for a, b in pairwise(gaps)]
        return statistics.correlation([a for a, _ in pairs], [b for _, b in pairs])

    assert lag(0.0) == pytest.approx(0, abs=0.02)
    assert lag(0.8) == pytest.approx(0.8, abs=0.1)


def test_the_load_multiplies_waits_between_its_points_and_not_beyond() -> None:
    assert [times().factors(n) for n in (1, 3, 5, 50)] == [(1, 1), (2, 1.5), (3, 2), (3, 2)]
    three = times(load=[[1, 1, 1], [5, 3, 2], [9, 4, 6]])
    assert [three.factors(n) for n in (3, 7, 8)] == [(2, 1.5), (3.5, 4), (3.75, 5)]


def test_requests_that_run_beside_each_other_are_stretched_by_their_number() -> None:
    engine = TimelineEngine(factors=times().factors)
    for key in range(3):
        engine.admit(key, EngineRequest(0, Plan(10 * MS, (4 * MS,), 2), 1))
    seen: dict[int, list[int]] = {}
    while (at := engine.next_ns()) is not None:
        for key, _ in engine.step(at):
            seen.setdefault(key, []).append(at)
    # One, two and three requests were in flight as each came, so TTFT is multiplied by 1, 1.5 and 2. At the first gap
    # all three were in flight: times 1.5. At the last gap one had ended.
    assert [first for first, _ in seen.values()] == [10 * MS, 15 * MS, 20 * MS]
    assert seen[0][1] - seen[0][0] == 6 * MS
    report = engine.release(2)
    assert (report.plan.ttft_ns, report.plan.gaps_ns) == (20 * MS, (seen[2][1] - seen[2][0],))


def test_plans_and_truth_are_of_these_times() -> None:
    config = read_arguments(["--sampled-times", str(TIMES)])
    assert config.model_dump(mode="json")["sampled_times"] == str(TIMES)
    plan = draw_plan(latencies_of(config), 7, 3, ReplyLength(99, asked=4), input_tokens=1000)
    assert plan.ttft_ns == times().ttft(stream(7, "ttft", 3).random(), 1000)
    assert plan.gaps_ns == times().gaps(3, stream(7, "itl", 3))
    assert isinstance(ENGINES["sampled"](config), TimelineEngine)
    truth = EXPECTATIONS["sampled"](config, RequestLengths(input_tokens=1000))
    by_users = {row["users"]: row for row in truth["users"]}
    assert by_users[1]["ttft_ms"]["p50"] == pytest.approx(70)
    assert by_users[8]["ttft_ms"]["p50"] == pytest.approx(210)
    assert by_users[8]["itl_ms"]["p50"] == pytest.approx(21)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gap_ms": [3, 2]}, "gap_ms: write two or more times in ms that do not fall"),
        ({"ttft_ms": [-1, 2]}, "ttft_ms: write two or more times"),
        ({"load": [[2, 1, 1], [1, 1, 1]]}, "load: write points"),
        ({"load": [[1, 0, 1]]}, "load: write points"),
        ({"load": [5]}, "load: write points"),
        ({"load": [[1, 1]]}, "load: write points"),
        ({"load": [[1, 1, "1"]]}, "load: write points"),
        ({"load": []}, "load: write points"),
        ({"load": {}}, "load: write points"),
        ({"load": [[1, 1, 1], 5]}, "load: write points"),
        ({"load": [[1, 1, 1], [2, 1, 1, 1]]}, "load: write points"),
        ({"load": [[1, 1, 1], [2, True, 1]]}, "load: write points"),
        ({"load": [[1, 1, 1], [1, 2, 2]]}, "load: write points"),
        ({"load": [[1, 1, 1], [2, 1, 0]]}, "load: write points"),
        ({"load": [[1, 1, 1], [2, 0, 1]]}, "load: write points"),
        ({"gap_ms": [3]}, "gap_ms: write two or more times in ms that do not fall, 0 or more"),
        ({"gap_ms": 3}, "gap_ms: write two or more times"),
        ({"gap_ms": [3, "4"]}, "gap_ms: write two or more times"),
        ({"between": 1.01}, "between=1.01: write a number from 0 to 1"),
        ({"between": -0.01}, "between=-0.01: write a number from 0 to 1"),
        ({"between": True}, "between=True: write a number from 0 to 1"),
        ({"follows": -1.01}, "follows=-1.01: write a number from -1 to 1"),
        ({"ttft_per_input_token_us": -1}, "ttft_per_input_token_us=-1: write a number from 0 to 1e+09"),
        ({"ttft_per_input_token_us": 1e9 + 1}, "write a number from 0 to 1e+09"),
        ({"follows": 3}, "follows=3: write a number from -1 to 1"),
        ({"more": 3}, "no key is called 'more'"),
    ],
)
def test_wrong_times_say_what_to_write(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        times(**changes)


def test_the_ends_of_what_times_may_be_are_valid() -> None:
    low = times(ttft_ms=[0, 0], gap_ms=[0, 7], between=0, follows=-1, ttft_per_input_token_us=0, load=[[3, 0.5, 2]])
    assert (low.ttft_ns, low.gap_ns, low.between, low.follows) == ((0, 0), (0, 7 * MS), 0.0, -1.0)
    assert [low.factors(n) for n in (1, 3, 9)] == [(0.5, 2)] * 3
    high = times(between=1, follows=1, ttft_per_input_token_us=2.5)
    assert (high.between, high.follows, high.ttft(0, 1000) - times().ttft_ns[0]) == (1.0, 1.0, 2.5 * MS)
    # The whole spread is between requests: all gaps of one are the same.
    assert [len(set(gaps)) for gaps in requests(times(between=1, follows=0), count=3)] == [1, 1, 1]
    # Each score equals the one before it, so all gaps are the same, too.
    assert [len(set(gaps)) for gaps in requests(times(between=0, follows=1), count=3)] == [1, 1, 1]


def test_quantiles_are_linear_between_their_points_and_constant_beyond() -> None:
    three = times(gap_ms=[2, 4, 12], ttft_ms=[1, 3])
    assert [three.gap(share) for share in (-1, 0, 0.25, 0.5, 0.75, 1, 2)] == [n * MS for n in (2, 2, 3, 4, 8, 12, 12)]
    assert [three.ttft(share, 0) for share in (0, 0.5, 1)] == [1 * MS, 2 * MS, 3 * MS]


def test_a_file_that_holds_no_times_says_why(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    for text, says in (
        ("5", "must contain one object with ttft_ms, ttft_per_input_token_us, gap_ms, between, follows, load"),
        ("{}", "ttft_ms is missing; ttft_per_input_token_us is missing; gap_ms is missing; between is missing; follows is "
               "missing; load is missing"),
        ("{", "cannot be read: "),
        ("[" * 100_000, "cannot be read: "),
        ('{"sampled_times": 5}', "no key is called 'sampled_times'"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(f"{str(path)!r}: {says}")):
            parse_sampled_times(str(path))
    with pytest.raises(ValueError, match="cannot be read: No such file or directory"):
        parse_sampled_times(str(tmp_path / "none.json"))
    path.write_text(json.dumps({"sampled_times": ROW, "other": 1}))  # A whole profile.
    read = parse_sampled_times(str(path))
    assert (read.gap_ns, str(read)) == (times().gap_ns, str(path))


def test_times_that_would_have_no_effect_are_refused() -> None:
    for flags, says in (
        (["--ttft", "9ms"], "--ttft has no effect with --sampled-times"),
        (["--workers", "2"], "--sampled-times needs all requests in one process"),
        (["--engine", "batching"], "--sampled-times has no effect with --engine batching"),
    ):
        with pytest.raises(UsageError) as caught:
            read_arguments(["--sampled-times", str(TIMES), *flags])
        assert any(says in problem for problem in caught.value.problems), caught.value.problems
    assert MockConfig().sampled_times is None
