"""The fit of a batching server: it recovers hidden coefficients from streams with jitter and outliers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from jsonschema import Draft202012Validator

import bench.fit
from bench.fit.batching import BatchingFit, Given, fit_batching
from bench.fit.profile import batching_profile, command_of, unknown_of, warnings_of
from bench.fit.streams import Stream
from tests.support.made_runs_of_fit import made_runs
from tests.support.results import as_json
from tests.support.step_server import StepServer, closed_loop

pytestmark = pytest.mark.usefixtures("few_resamples")

LOADS = ((1, 8.0), (4, 8.0), (16, 8.0))


@functools.cache
def _runs_of(server: StepServer, loads: tuple[tuple[int, float], ...], **load: Any) -> list[list[Stream]]:
    return [closed_loop(server, users, seconds, seed=place, **load) for place, (users, seconds) in enumerate(loads)]


@functools.cache
def _fitted(server: StepServer, loads: tuple[tuple[int, float], ...], **load: Any) -> BatchingFit:
    return fit_batching(_runs_of(server, loads, **load), Random(1))


def runs_of(server: StepServer, loads: Sequence[tuple[int, float]] = LOADS, **load: Any) -> list[list[Stream]]:
    """The streams of each load. The caller may change the lists."""
    return [list(streams) for streams in _runs_of(server, tuple(loads), **load)]


def fitted(server: StepServer, loads: Sequence[tuple[int, float]] = LOADS, **load: Any) -> BatchingFit:
    return _fitted(server, tuple(loads), **load)


def off(fit: BatchingFit, server: StepServer) -> list[float]:
    """The relative errors of b0, b1 and b2."""
    truth = (server.b0, server.b1, server.b2)
    return [abs(found / true - 1) for found, true in zip(fit.steps.values, truth, strict=False)]


def close(fit: BatchingFit, server: StepServer) -> bool:
    b0, b1, b2 = off(fit, server)
    return b0 < 0.03 and b1 < 0.1 and b2 < 0.1


SERVERS: dict[str, tuple[StepServer, dict[str, Any]]] = {
    "quiet": (StepServer(), {}),
    "outliers": (StepServer(outliers=0.03), {}),
    "context": (StepServer(b0=5000, b1=15, b2=60, b3=0.05, outliers=0.03), {}),
    "slow": (StepServer(b0=21_000, b1=96, b2=410, a0=9000, jitter_us=300, outliers=0.03), {}),
    "prefix cache": (StepServer(outliers=0.03), {"cached_share": 0.7}),
    "chunked prefill": (StepServer(budget=512, outliers=0.03), {"prompts": (40, 3000)}),
    "tokens one after the other": (StepServer(b0=2500, b1=20, b2=900, apart_us=800, outliers=0.03), {}),
    "several tokens a chunk": (StepServer(outliers=0.03), {"tokens_a_chunk": 4}),
}


@pytest.mark.parametrize("name", SERVERS)
def test_coefficients_are_found(name: str) -> None:
    server, load = SERVERS[name]
    fit = fitted(server, **load)
    assert close(fit, server), off(fit, server)
    assert all(one.low <= one.value <= one.high for one in fit.steps.coefficients.values())
    assert abs(fit.front_end.a0.value - server.a0) < 0.15 * server.b0
    assert fit.chunks == ("interval" if "tokens_a_chunk" in load else "single")


@pytest.mark.parametrize("name", SERVERS)
def test_a_prompt_costs_nothing_besides_its_tokens(name: str) -> None:
    server, load = SERVERS[name]
    assert "b4" not in fitted(server, **load).steps.coefficients


def test_what_a_prompt_costs_besides_its_tokens_is_found_if_prompts_differ_in_length() -> None:
    """As with llama.cpp: 11 us per token, and 3 ms per prompt."""
    server = StepServer(b0=260, b1=11, b2=1230, prompt=3000, outliers=0.03)
    found = fitted(server)
    b4 = found.steps.coefficients["b4"]
    assert b4.value == pytest.approx(3000, rel=0.03)
    assert b4.told
    assert b4.low <= 3000 <= b4.high
    assert found.steps.coefficients["b1"].value == pytest.approx(11, rel=0.05)
    assert found.front_end.a0.value == pytest.approx(server.a0, abs=100)
    assert "b4" not in fitted(server, prompts=(200, 202)).steps.coefficients


def test_outliers_are_left_out_of_the_fit() -> None:
    assert fitted(StepServer(outliers=0.03)).steps.left_out > 0.01


def test_the_cost_of_a_context_token_is_found_and_is_0_where_there_is_none() -> None:
    assert fitted(StepServer(b3=0.05, outliers=0.03)).steps.values[3] == pytest.approx(0.05, rel=0.1)
    assert fitted(StepServer(outliers=0.03)).steps.values[3] < 0.005


def test_a_prompt_costs_only_what_was_not_cached() -> None:
    server = StepServer()
    blind = [
        [Stream(s.sent_us, s.end_us, s.prompt_tokens, 0, s.arrivals_us, s.tokens, s.sure) for s in streams]
        for streams in runs_of(server, cached_share=0.7)
    ]
    assert fit_batching(blind, Random(1)).steps.values[1] < 0.5 * server.b1


@pytest.mark.parametrize("budget", [512, 2048])
def test_the_token_budget_is_seen_in_full_steps(budget: int) -> None:
    limit = fitted(StepServer(budget=budget, outliers=0.02), prompts=(40, 3 * budget)).limits.max_num_batched_tokens
    assert (limit.value, limit.source) == (budget, "steps")


def test_a_batch_that_does_not_grow_while_requests_wait_is_the_limit_of_sequences() -> None:
    limit = fitted(StepServer(seqs=12), ((1, 5.0), (32, 8.0))).limits.max_num_seqs
    assert (limit.value, limit.source) == (12, "waiting")


def test_limits_that_no_load_reached_are_unknown_and_given_ones_are_taken() -> None:
    limits = fitted(StepServer()).limits
    assert (limits.max_num_seqs.value, limits.max_num_seqs.at_least) == (None, 16)
    assert limits.max_num_batched_tokens.value is limits.kv_blocks.value is None
    given = Given(max_num_seqs=7, max_num_batched_tokens=4096, kv_blocks=900)
    limits = fit_batching(runs_of(StepServer()), Random(1), given).limits
    assert [limits.max_num_seqs.value, limits.max_num_batched_tokens.value, limits.kv_blocks.value] == [7, 4096, 900]
    assert fit_batching(runs_of(StepServer()), Random(1), stated={"kv_blocks": 555}).limits.kv_blocks.source == "server"


def unknown(server: StepServer, loads: Sequence[tuple[int, float]], **load: Any) -> dict[str, str]:
    runs = runs_of(server, loads, **load)
    rows = unknown_of(fit_batching(runs, Random(1)), made_runs(runs))
    return {row.what: row.command for row in rows}


def test_one_user_tells_neither_a_step_from_its_decode_nor_a_prefill() -> None:
    found = unknown(StepServer(), ((1, 8.0),), prompts=(10, 400))
    assert {"b0, b2", "b1"} <= found.keys()
    assert "--concurrency 4 " in found["b0, b2"]
    assert found["a0"] == found["b0, b2"]
    # The TTFT of prompts of similar length does not show how much of it is prefill.
    assert "--concurrency 1 " in unknown(StepServer(), ((1, 8.0),), prompts=(200, 400))["a0"]


def test_what_an_idle_server_waits_is_not_known_to_a_step_that_is_not() -> None:
    # One user sees only steps with one decode: its TTFT is a0 + b0, and its steps are b0 + b2.
    server = StepServer(b0=3000, b2=3000, a0=4000)
    front = fitted(server, ((1, 8.0),), prompts=(10, 400)).front_end
    assert (front.how, front.a0.told, front.w0.told) == ("idle", False, False)
    assert front.a0.low == 0
    assert server.a0 <= front.a0.high


def test_a_busy_closed_loop_does_not_show_what_lies_before_the_queue() -> None:
    assert "--concurrency 1 " in unknown(StepServer(), ((16, 8.0),))["a0"]


def test_three_loads_tell_all_coefficients() -> None:
    assert unknown(StepServer(), LOADS).keys() <= {"max_num_seqs", "max_num_batched_tokens", "kv_blocks", "a1"}


CURVE = {n: 1320.0 + 105 * max(0, min(n, 4) - 2) + 900 * max(0, n - 4) for n in range(1, 64)} | {1: 0.0}
"""Decodes of a CPU with two cores: the second and those after the fourth are expensive, the others nearly free."""


def test_decodes_that_do_not_cost_the_same_each_are_a_table() -> None:
    server = StepServer(b0=2900, b1=8, curve=CURVE, outliers=0.03)
    fit = fitted(server, ((1, 8.0), (4, 8.0), (8, 8.0), (24, 8.0)))
    batches = [2, 3, 4, 6, 8, 12, 16, 20]
    found = fit.steps.values[0] + fit.steps.decode_cost.us(np.array(batches, dtype=np.float64))
    assert found == pytest.approx([2900 + CURVE[n] for n in batches], rel=0.02)
    assert fit.steps.values[1] == pytest.approx(8, rel=0.1)
    assert all(one.low <= one.us <= one.high for one in fit.steps.table)
    runs = runs_of(server)
    assert warnings_of(fit, made_runs(runs)) == []
    # The document has the value where the mock reads it, and elsewhere with intervals.
    made = as_json(batching_profile(fit, made_runs(runs), date="d", trueload="t", server=None))
    assert made["step_cost"]["decode"] == [[one["tokens"], one["us"]] for one in made["decode"]]


def test_a_linear_server_gets_no_table() -> None:
    assert all(fitted(server, **load).steps.table == () for server, load in SERVERS.values())


def _warms_up(chance: Random) -> Callable[[float, int, float], float]:
    """Steps take 1.5 times as long at first, and become shorter over 8 s."""
    return lambda us, decodes, now: us * (1 + 0.5 * max(0.0, 1 - now / 8e6))


def test_steps_that_become_shorter_over_a_run_are_told_from_a_steady_server() -> None:
    (change,) = fitted(StepServer(varied=_warms_up), ((4, 8.0),)).drifts
    assert -0.3 < change < -0.1
    assert {fitted(server, **load).drifts for server, load in SERVERS.values()} == {(0.0, 0.0, 0.0)}


def test_a_cost_that_falls_with_the_batch_is_said() -> None:
    runs = runs_of(StepServer(curve={1: 9000, 3: 100, 4: 9000, 8: 500, 13: 9000}))
    assert any("neither a line" in sentence for sentence in warnings_of(fit_batching(runs, Random(1)), made_runs(runs)))
    runs = runs_of(StepServer())
    assert warnings_of(fit_batching(runs, Random(1)), made_runs(runs)) == []


def test_steps_beside_a_request_of_unknown_work_are_left_out() -> None:
    streams = closed_loop(StepServer(), 4, 4.0)
    whole = fit_batching([streams], Random(1)).steps.steps
    failed = Stream(streams[20].sent_us, streams[20].sent_us + 1e6, 100, 0, (), (), sure=False)
    less = fit_batching([sorted([*streams, failed], key=lambda s: s.sent_us)], Random(1)).steps.steps
    assert whole - 400 < less < whole - 50


def test_too_few_steps_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="steps were seen from end to end, and 50 are needed"):
        fit_batching([closed_loop(StepServer(), 1, 0.001, outputs=(20, 20))], Random(1))


def test_the_next_run_names_the_server_and_its_endpoint() -> None:
    (run,) = made_runs([[]])
    assert command_of(run, concurrency=3) == (
        "python -m bench run --url http://127.0.0.1:8000 --concurrency 3 --duration 60"
    )


@pytest.mark.parametrize("users", [1, 8])
def test_a_profile_of_any_load_is_json_and_keeps_the_schema(users: int) -> None:
    runs = runs_of(StepServer(), ((users, 6.0),))
    made = as_json(
        batching_profile(fit_batching(runs, Random(1)), made_runs(runs), date="d", trueload="t", server=None)
    )
    schema = json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(orjson.dumps(made)))


def test_the_profile_is_the_same_each_time() -> None:
    runs = runs_of(StepServer(outliers=0.02))
    made = [
        batching_profile(fit_batching(runs, Random(1)), made_runs(runs), date="d", trueload="t", server=None)
        for _ in "ab"
    ]
    assert made[0] == made[1]


def test_a_budget_smaller_than_most_prompts_is_found_and_leaves_the_cost_right() -> None:
    # Prompts of up to 400 tokens take several steps, although some steps of other requests compute more tokens.
    server = StepServer(budget=64)
    fit = fitted(server)
    assert close(fit, server), off(fit, server)
    assert fit.limits.max_num_batched_tokens.value == 64
    assert abs(fit.front_end.a0.value - server.a0) < 0.15 * server.b0


@pytest.mark.parametrize("jitter_us", [60.0, 150.0])
def test_a_small_budget_whose_steps_are_mostly_fixed_cost_is_no_cheap_prefill(jitter_us: float) -> None:
    # A part of a prompt makes a step only 14% longer, so no row is an outlier, but TTFT grows by a step per 64 tokens.
    server = StepServer(b0=9000.0, b1=20.0, b2=200.0, a0=300.0, budget=64, jitter_us=jitter_us)
    runs = runs_of(server, ((1, 8.0), (4, 8.0)), prompts=(32, 400), outputs=(6, 20))
    fit = fit_batching(runs, Random(1))
    assert close(fit, server), off(fit, server)
    limit = fit.limits.max_num_batched_tokens
    assert limit.value in (None, 64)
    assert limit.at_least <= 64
    warned = any("give --max-num-batched-tokens" in sentence for sentence in warnings_of(fit, made_runs(runs)))
    assert warned == (limit.value is None)


@pytest.mark.parametrize(
    ("limits", "prompts", "known"),
    [
        pytest.param({"budget": 24}, (10, 400), {"a0"}, id="a budget that is not found"),
        pytest.param({"seqs": 1}, (10, 400), set(), id="one at a time"),
        pytest.param({"seqs": 1}, (200, 400), set(), id="one at a time, of similar prompts"),
        pytest.param({}, (10, 400), {"a0", "a1"}, id="nothing hidden"),
    ],
)
def test_what_comes_before_the_queue_is_not_known_if_the_steps_of_a_prompt_are_not(
    limits: dict[str, Any], prompts: tuple[int, int], known: set[str]
) -> None:
    server = StepServer(**limits)
    fit = fitted(server, ((1, 12.0), (4, 8.0)), prompts=prompts)
    found = {"a0": fit.front_end.a0, "a1": fit.front_end.a1}
    assert {name for name, one in found.items() if one.told} == known
    assert all(one.low == 0 for name, one in found.items() if name not in known)


@pytest.mark.parametrize(("budget", "told"), [(8, False), (10, False), (24, True), (100_000, True)])
def test_the_cost_of_a_prompt_token_is_not_told_if_no_step_was_seen_to_compute_a_prompt(
    budget: int, told: bool
) -> None:
    server = StepServer(budget=budget)
    runs = runs_of(server, ((1, 12.0), (4, 8.0)), prompts=(10, 400))
    fit = fit_batching(runs, Random(1))
    b1 = fit.steps.coefficients["b1"]
    assert b1.told is told
    assert b1.low <= server.b1 * 1.01
    assert told or b1.low == 0
    assert ("b1" in [row.what for row in unknown_of(fit, made_runs(runs))]) is not told
    warned = any("give --max-num-batched-tokens" in sentence for sentence in warnings_of(fit, made_runs(runs)))
    assert warned is (budget < 100_000)


def test_a_budget_smaller_than_any_that_is_looked_for_leaves_the_cost_right() -> None:
    # 10 tokens per step: a prompt of 16 takes two steps next to another request's decode, 17 tokens in all. Rows of
    # more than 16 tokens may span several steps, so their times are added up.
    server = StepServer(b0=3000.0, b1=300.0, b2=80.0, budget=10, jitter_us=5.0)
    loads = ((2, (16, 16)), (4, (2, 4)))
    runs = [closed_loop(server, users, 2.0, prompts=prompts, outputs=(4, 10), seed=users) for users, prompts in loads]
    fit = fit_batching(runs, Random(1))
    assert close(fit, server), off(fit, server)
    assert (fit.limits.max_num_batched_tokens.value, fit.limits.max_num_batched_tokens.at_least) == (None, 10)


def test_prompts_that_cost_less_than_the_jitter_bound_the_budget_too() -> None:
    runs = runs_of(StepServer(b1=0.2, jitter_us=300.0), ((8, 3.0),), prompts=(200, 2000), outputs=(6, 30))
    limit = fit_batching(runs, Random(1)).limits.max_num_batched_tokens
    assert limit.value is None
    assert limit.at_least > 1000


def test_steps_without_a_cost_are_said() -> None:
    server = StepServer(b0=0.0, b1=60.0, b2=0.0, jitter_us=0.0)
    with pytest.raises(ValueError, match="most steps take less than"):
        fitted(server)


def test_limits_that_the_server_states_are_taken_and_those_of_the_user_before_them() -> None:
    stated = {"max_num_seqs": 8, "max_num_batched_tokens": 512}
    limits = fit_batching(runs_of(StepServer()), Random(1), Given(max_num_seqs=9), stated).limits
    assert (limits.max_num_seqs.value, limits.max_num_seqs.source) == (9, "given")
    assert (limits.max_num_batched_tokens.value, limits.max_num_batched_tokens.source) == (512, "server")
