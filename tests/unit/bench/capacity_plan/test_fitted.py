"""The servers that are as likely as the fitted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from bench.capacity_plan import fitted
from bench.capacity_plan.fitted import FittedServer, drawn, lengths_of, read_profile
from bench.capacity_plan.plan import warnings_of
from bench.capacity_plan.traffic import Trace
from bench.errors import UsageError
from bench.metrics.objectives import parse
from bench.results.plan import PlannedObjective
from bench.results.profile import (
    DRIFT,
    REFUSED,
    DrawnCost,
    FittedCoefficient,
    ProfileSettings,
    Replay,
    ReplayedNumber,
    StepVariation,
    Unknown,
)
from tests.support.planned_server import profile, stretches

B4 = FittedCoefficient(value=3_000, low=2_700, high=3_300, told=True, unit="us a prompt")


def cost_of(file: Path) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(file.read_bytes())["step_cost"]
    return row


@pytest.mark.parametrize("resampled", [True, False])
def test_a_draw_has_another_cost_of_a_prompt(tmp_path: Path, resampled: bool) -> None:
    made = profile(tmp_path, resamples=[1.0] if resampled else ())
    assert made.step_cost is not None
    assert made.fit is not None
    draws = [replace(one, b4=3_300) for one in made.fit.draws or ()]
    coefficients = {**(made.coefficients or {}), "b4": B4}
    cost, fit = replace(made.step_cost, b4=3_000), replace(made.fit, draws=draws or None)
    made = replace(made, step_cost=cost, coefficients=coefficients, fit=fit)
    first, other = (cost_of(file)["b4"] for file in drawn(made, 2, tmp_path).files)
    assert first == 3_000
    if resampled:
        assert other == 3_300
    else:
        assert other != 3_000
        assert 2_500 < other < 3_500


@pytest.mark.parametrize(
    ("decode", "drafts", "padded"),
    [
        # 900 us per decode; the fit saw up to 64.
        (None, None, [[64, 57_600], [65, 115_200]]),
        (None, 3, [[256, 230_400], [257, 460_800]]),
        # Straight lines between the points and beyond the last one.
        ([(2, 1_000), (100, 50_000)], None, [[2, 1_000], [64, 32_000], [65, 75_200]]),
        ([(2, 1_000), (64, 2_000)], None, [[2, 1_000], [64, 2_000], [65, 59_600]]),
    ],
)
def test_batches_beyond_those_that_were_seen_cost_as_much_as_twice_as_many(
    decode: list[tuple[int, float]] | None, drafts: int | None, padded: list[list[float]], tmp_path: Path
) -> None:
    made = profile(tmp_path, seen=64)
    assert made.step_cost is not None
    cost = replace(made.step_cost, decode=decode)
    server = drawn(replace(made, step_cost=cost, settings=ProfileSettings(num_speculative_tokens=drafts)), 1, tmp_path)
    assert server.padded is not None
    assert cost_of(server.padded)["decode"] == pytest.approx(np.array(padded))
    assert drawn(replace(made, step_cost=None), 1, tmp_path).padded is None


def test_a_fit_of_users_alone_does_not_know_an_idle_server(tmp_path: Path) -> None:
    found = [warnings_of(stretches(tmp_path, "ttft:p99<1s", of_users=of_users)[0]) for of_users in (True, False)]
    assert [any("no run at a rate was fitted" in one for one in warnings) for warnings in found] == [True, False]


def test_what_a_profile_leaves_open_is_told(tmp_path: Path) -> None:
    of, _ = stretches(tmp_path, "ttft:p99<1s", resamples=[1.0])
    made = of.server.profile
    assert made.step_cost is not None
    varied = replace(made.step_cost, variation=StepVariation(power=0, at_us=1, block=1, levels=[]))
    steady = replace(made, step_cost=varied, warnings=["of the fit"], replay=[])
    for profiled, warnings in (
        (steady, ["of the fit"]),
        (replace(steady, replay=None), ["of the fit", "no load of the profile was replayed"]),
        (replace(steady, step_cost=None, fit=None), ["of the fit"]),
        (replace(steady, step_cost=made.step_cost), ["of the fit", "the profile does not say how steps vary"]),
        (replace(steady, fit=profile(tmp_path).fit), ["of the fit", "the profile has no resamples"]),
    ):
        of.server = FittedServer(profiled, [])
        told = warnings_of(of)
        assert [one.startswith(start) for one, start in zip(told, warnings, strict=True)] == [True] * len(warnings)


def number(key: str, quantile: str, measured: float, replayed: float) -> ReplayedNumber:
    off = replayed / measured - 1
    return ReplayedNumber(number=key, quantile=quantile, measured=measured, replayed=replayed, off=off, apart=True)


TOO_SHORT, TOO_LONG = (number("ttft_ms", "p99", 300, 150), number("ttft_ms", "p99", 150, 300))


@pytest.mark.parametrize(
    ("slo", "value", "row", "said"),
    [
        # TTFT may be twice as long: 440 ms, and 560 ms.
        ("ttft:p99<500ms", 220, TOO_SHORT, None),
        ("ttft:p99<500ms", 280, TOO_SHORT, "may not hold: the profile's TTFT p99 was -50% off when busy was replayed"),
        ("ttft:p95<500ms", 280, TOO_SHORT, "may not hold: the profile's TTFT p99 was -50% off when busy was replayed"),
        ("ttft:p50<500ms", 280, TOO_SHORT, None),
        ("tpot:p99<500ms", 280, TOO_SHORT, None),
        ("ttft:p99<500ms", None, TOO_SHORT, None),
        ("ttft:p99<500ms", 280, number("ttft_ms", "p99", 300, 240), None),
        # TTFT may be half as long: 450 ms.
        ("ttft:p99<500ms", 900, TOO_LONG, "may hold: the profile's TTFT p99 was +100% off when busy was replayed"),
        ("ttft:p99<500ms", 280, TOO_LONG, None),
        ("goodput>=0.9", 0.95, TOO_SHORT, "may not hold: the profile's TTFT p99 was -50% off when busy was replayed"),
        ("goodput>=0.9", 0.95, TOO_LONG, None),
        ("goodput>=0.9", 0.85, TOO_SHORT, None),
        ("goodput>=0.9", 0.85, TOO_LONG, "may hold: the profile's TTFT p99 was +100% off when busy was replayed"),
    ],
)
def test_an_objective_is_not_known_if_the_error_of_a_replay_would_turn_it(
    slo: str, value: float | None, row: ReplayedNumber, said: str | None, tmp_path: Path
) -> None:
    objective, *_ = parse([slo, *(["ttft:p99<500ms"] if slo.startswith("goodput") else [])])
    planned = PlannedObjective(objective=slo, value=value, interval=None, holds=1)
    quiet = Replay(name="quiet", held_out=False, numbers=[number("ttft_ms", "p99", 100, 101)])
    busy = Replay(name="busy", held_out=True, numbers=[row])
    server = FittedServer(replace(profile(tmp_path), replay=[quiet, busy]), [])
    found = server.misjudged([objective], [planned])
    assert [sentence.split(";")[0] for sentence in found] == ([] if said is None else [f"{slo} {said}"])


def test_rows_of_the_trace_that_are_left_out_are_counted(tmp_path: Path) -> None:
    made, _ = stretches(tmp_path, "ttft:p99<1s")
    for left_out, many in ((2, 1), (0, 0)):
        made.traffic = Trace(made.traffic.hours, (), left_out=left_out)
        said = "2 rows of the trace are left out: they are bad, or have no time or no tokens"
        assert warnings_of(made).count(said) == many


def test_a_server_whose_prompts_cost_their_tokens_alone_has_none_in_a_draw(tmp_path: Path) -> None:
    made = profile(tmp_path, resamples=[1.2])
    assert all("b4" not in cost_of(file) for file in drawn(made, 2, tmp_path).files)


@pytest.mark.parametrize(
    ("engine", "seqs", "in_flight", "said"),
    [
        ("sampled", 64, 64, []),
        ("sampled", 64, 65, ["a profile of sampled times serves more than 64 like 64"]),
        ("batching", None, 80, []),
        ("batching", None, 81, ["max_num_seqs is not known"]),
        ("batching", 64, 128, []),
        ("batching", 64, 129, ["what such batches cost is not known"]),
    ],
)
def test_a_fit_knows_what_it_saw_and_a_little_more(
    engine: str, seqs: int | None, in_flight: int, said: list[str], tmp_path: Path
) -> None:
    server = FittedServer(replace(profile(tmp_path, seen=64, seqs=seqs), engine=engine), [])
    found = server.beyond(in_flight, 0)
    assert [words in sentence for words, sentence in zip(said, found, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("prompt", "context", "said"),
    [
        ((500, 800), (1_000, 1_600), []),
        ((501, 600), (900, 1_000), ["prompts have up to 600 tokens, and the fit saw 400"]),
        ((500, 500), (1_001, 1_002), ["prompts with their replies have up to 1,002 tokens, and the fit saw 800"]),
        ((600, 650), (1_200, 1_300), ["prompts have up to 650 tokens, and the fit saw 400"]),
        # A few prompts are far longer.
        ((300, 801), (500, 900), ["prompts have up to 801 tokens, and the fit saw 400"]),
        ((300, 800), (500, 1_601), ["prompts with their replies have up to 1,601 tokens, and the fit saw 800"]),
    ],
)
def test_a_fit_knows_requests_that_are_as_long_as_those_it_saw(
    prompt: tuple[float, float], context: tuple[float, float], said: list[str], tmp_path: Path
) -> None:
    made = profile(tmp_path)
    (run,) = made.provenance.runs
    runs = [replace(run, longest_prompt=400, longest_context=700), replace(run, longest_prompt=90, longest_context=800)]
    server = FittedServer(replace(made, provenance=replace(made.provenance, runs=[*runs, run])), [])
    assert [sentence.partition(":")[0] for sentence in server.longer(prompt, context)] == said
    assert FittedServer(made, []).longer(prompt, context) == [], "older profiles have no lengths of prompts"


def test_each_draw_has_the_costs_of_its_resample_in_turn(tmp_path: Path) -> None:
    made = profile(tmp_path, resamples=[0.6, 1.0, 1.6])
    costs = [cost_of(file) for file in drawn(made, 5, tmp_path).files]
    assert [cost["b0"] for cost in costs] == pytest.approx([12_000, 7_200, 12_000, 19_200, 7_200])
    # Values that are not drawn are those of the profile.
    assert {(cost["max_num_seqs"], cost["kv_blocks"]) for cost in costs} == {(64, 9_000)}


def test_what_a_fit_could_not_tell_comes_with_the_run_that_would(tmp_path: Path) -> None:
    made = profile(tmp_path)
    untold = {"b1": replace((made.coefficients or {})["b1"], told=False)}
    row = Unknown(what="b1", why="no prompts", command="python -m bench run --rate 3")
    for unknown, ending in (((row,), "; next: python -m bench run --rate 3"), ((), "")):
        server = FittedServer(replace(made, coefficients={**(made.coefficients or {}), **untold}, unknown=unknown), [])
        assert server.untold() == [f"the fit could not determine b1{ending}"]


@pytest.mark.parametrize(
    ("us", "told", "said"),
    [(250.0, False, ["the fit could not determine a1"]), (250.0, True, []), (0.0, False, [])],
)
def test_what_prompt_tokens_take_before_the_queue_may_be_steps_if_it_is_not_told(
    tmp_path: Path, us: float, told: bool, said: list[str]
) -> None:
    made = profile(tmp_path)
    found = made.coefficients or {}
    coefficients = {**found, "a1": replace(found["b1"], value=us, told=told)}
    assert FittedServer(replace(made, coefficients=coefficients, unknown=()), []).untold() == said


@pytest.mark.parametrize(("what", "many"), [(DRIFT, 1), (REFUSED, 1), ("kv_blocks", 0)])
def test_a_fit_does_not_know_a_server_that_its_model_lacks(what: str, many: int, tmp_path: Path) -> None:
    row = Unknown(what=what, why="31 of 99 failed", command="python -m bench search")
    server = FittedServer(replace(profile(tmp_path), unknown=[row]), [])
    assert server.untold() == ["31 of 99 failed; next: python -m bench search"] * many


def with_limits(folder: Path, seen: int, seqs: int | None, blocks: int | None, **of: Any) -> FittedServer:
    made = profile(folder, seen=seen, seqs=seqs)
    assert made.limits is not None
    limits = replace(made.limits, kv_blocks=replace(made.limits.kv_blocks, value=blocks))
    return FittedServer(replace(made, **{"limits": limits, **of}), [])


NEXT = (Unknown(what="max_num_seqs", why="", command="a"), Unknown(what="kv_blocks", why="", command="b"))
MANY = "a replica has up to 90 requests in flight"


@pytest.mark.parametrize(
    ("of", "in_flight", "tokens", "said"),
    [
        ((64, None, None), 80, 2_000, []),
        ((64, None, None), 90, 2_001, [
            f"{MANY}, and the fit saw 64: max_num_seqs is not known; next: a",
            "a replica holds up to 2,001 tokens, and the fit saw 1,600: the size of its KV cache is not known; next: b",
        ]),
        ((64, None, 1), 1, 9_999, []),
        ((45, 64, 1), 90, 0, []),
        ((44, 64, 1), 90, 0, [f"{MANY}, and the fit saw 44: what such batches cost is not known"]),
    ],
)  # fmt: skip
def test_what_a_fit_does_not_know_comes_with_the_run_that_would_tell(
    of: tuple[int, int | None, int | None], in_flight: float, tokens: float, said: list[str], tmp_path: Path
) -> None:
    server = with_limits(tmp_path, *of, unknown=NEXT)
    assert server.beyond(in_flight, tokens) == said
    assert with_limits(tmp_path, 90, *of[1:], limits=None).beyond(1_000, 1_000_000) == []


def test_no_run_in_a_profile_was_seen_with_requests_in_flight(tmp_path: Path) -> None:
    made = profile(tmp_path)
    server = FittedServer(replace(made, provenance=replace(made.provenance, runs=[])), [])
    assert server.most_seen == 0
    assert len(server.beyond(3, 0)) == 1
    assert server.beyond(2, 0) == []


def test_the_requests_of_an_overloaded_server_say_nothing_of_a_fit(tmp_path: Path) -> None:
    seen = "a profile of sampled times serves more than 2 requests like 2: record a higher load"
    assert with_limits(tmp_path, 2, 64, 1, engine="sampled").when_full() == [seen]
    assert with_limits(tmp_path, 2, None, 1, limits=None).when_full() == []
    assert with_limits(tmp_path, 32, 64, 1).when_full() == []
    (full,) = with_limits(tmp_path, 31, 64, 1).when_full()
    assert full.startswith("a replica has up to 64 requests in flight, and the fit saw 31: what such batches cost")
    (unknown,) = with_limits(tmp_path, 64, None, 1, unknown=NEXT).when_full()
    assert unknown.endswith("a server that takes more at once may keep up; next: a")


def test_lengths_are_those_of_the_busiest_run_that_says_them(tmp_path: Path) -> None:
    made = profile(tmp_path)
    (run,) = made.provenance.runs
    loads: tuple[dict[str, Any], ...] = ({"input_tokens": 5, "output_tokens": 6}, {"input_tokens": "uniform:1..9"}, {})
    runs = [replace(run, most_in_flight=most, load=load) for most, load in zip((1, 8, 9), loads, strict=True)]
    found = lengths_of(replace(made, provenance=replace(made.provenance, runs=runs)))
    assert found == {"input_tokens": "uniform:1..9", "output_tokens": "6"}


@pytest.mark.parametrize(("mean_error", "deviation"), [(0.0, 0.0), (None, 0.0), (0.1, 0.05)])
def test_all_costs_of_a_step_are_longer_or_shorter_together_as_the_mean_of_a_step_may_be(
    mean_error: float | None, deviation: float, tmp_path: Path
) -> None:
    made = profile(tmp_path, resamples=[1.0])
    assert made.fit is not None
    draws = [DrawnCost(b0=12_000, b1=10, b2=900, b3=0, decode=[(4, 500.0), (8, 700.0)])]
    made = replace(made, fit=replace(made.fit, draws=draws, mean_error=mean_error))
    costs: list[Any] = [fitted._other_cost(made, draw) for draw in range(1, 801)]
    longer = np.array([cost["b0"] / 12_000 for cost in costs])
    assert longer.mean() == pytest.approx(1, abs=0.006)
    assert longer.std() == pytest.approx(deviation, rel=0.1)
    for cost, by in zip(costs[:9], longer, strict=False):
        assert [cost[name] for name in ("b1", "b2", "b3")] == pytest.approx([10 * by, 900 * by, 0])
        assert cost["decode"] == [[4, pytest.approx(500 * by)], [8, pytest.approx(700 * by)]]
        assert "a0" not in cost or cost["a0"] == (made.coefficients or {})["a0"].value


def test_a_coefficient_is_drawn_from_its_interval_of_95_percent(tmp_path: Path) -> None:
    made = profile(tmp_path)
    of = FittedCoefficient(value=1_000, low=804, high=1_196, told=True, unit="us")
    unsure = {
        "b0": of, "a0": of, "b1": replace(of, told=False), "b2": replace(of, low=None), "b3": replace(of, high=None),
        "a1": replace(of, value=0),
    }  # fmt: skip
    made = replace(made, coefficients=unsure)
    costs: list[Any] = [fitted._other_cost(made, draw) for draw in range(1, 801)]
    for name in ("b0", "a0"):
        values = np.array([cost[name] for cost in costs])
        assert (values.mean(), values.std()) == (pytest.approx(1_000, rel=0.01), pytest.approx(100, rel=0.1))
    assert all((cost["b1"], cost["b2"], cost["b3"]) == (1_000, 1_000, 1_000) for cost in costs)
    assert np.mean([cost["a1"] == 0 for cost in costs]) == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef([[cost["b0"], cost["a0"]] for cost in costs], rowvar=False)[0, 1] == pytest.approx(0, abs=0.1)


def test_no_cost_is_drawn_near_nothing_however_unsure_the_mean_is(tmp_path: Path) -> None:
    made = profile(tmp_path, resamples=[1.0], mean_error=20.0)
    lowest = min(float(cast("Any", fitted._other_cost(made, draw)["b0"])) for draw in range(1, 20))
    assert lowest == pytest.approx(0.2 * 12_000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is not a profile"),
        (b"{}", "is not a profile"),
        (b'{"engine": "\xff"}', "is not a profile"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_profile(file)
