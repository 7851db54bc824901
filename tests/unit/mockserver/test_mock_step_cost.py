"""The notation of step costs, and valid combinations of settings."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from mockserver.cli import read_arguments
from mockserver.combinations import step_cost_of
from mockserver.errors import UsageError
from mockserver.step_cost import STEP_COSTS, StepCost, parse_step_cost


def test_a_step_takes_what_its_coefficients_say_in_ns() -> None:
    cost = StepCost(b0=1000, b1=10, b2=3, b3=0.5, b4=300, a0=7, a1=0.25)
    assert cost.step_ns(100, 8, 400, 2) == (1000 + 1000 + 24 + 200 + 600) * 1000
    assert cost.before_queue_ns(100) == 32_000
    assert cost.wake_ns == 0


def test_an_idle_server_may_wait_before_a_step() -> None:
    cost = parse_step_cost("b0=1000,b1=10,b2=3,a0=7,w0=12.5").cost
    assert (cost.before_queue_ns(100), cost.wake_ns) == (7_000, 12_500)
    with pytest.raises(ValueError, match="w0=-1: write a number of us from 0 to"):
        parse_step_cost("b0=1000,b1=10,b2=3,w0=-1")


def test_the_published_costs_are_these() -> None:
    rows = {name: (cost.b0, cost.b1, cost.b2, cost.a0) for name, cost in STEP_COSTS.items()}
    assert rows == {
        "qwen2.5-3b-h100": (4796, 9.45, 35.6, 3143),
        "qwen2.5-7b-h100": (7052, 19.54, 25.43, 4680),
        "qwen3-14b-h100": (13578, 39.4, 27.3, 8888),
        "llama-3.1-8b-h100": (6472, 19.8, 304, 10326),
    }
    assert {name: cost.kv_blocks for name, cost in STEP_COSTS.items() if "KV" not in cost.source} == {
        "qwen3-14b-h100": 17_600,
        "llama-3.1-8b-h100": 29_205,
    }
    assert all((cost.max_num_seqs, cost.max_num_batched_tokens) == (1024, 8192) for cost in STEP_COSTS.values())
    assert all("inference-sim" in cost.source for cost in STEP_COSTS.values())


def test_numbers_and_a_file_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    path.write_text(json.dumps({"b0": 5000, "b1": 1.5, "b2": 20, "b4": 70, "a1": 2, "kv_blocks": 900}))
    by_file, by_text = (
        parse_step_cost(str(path)).cost,
        parse_step_cost("b0=5000,b1=1.5,b2=20,b4=70,a1=2,kv_blocks=900").cost,
    )
    assert by_text == StepCost(5000, 1.5, 20, b4=70, a1=2, kv_blocks=900, source="given on the command line")
    assert by_file == StepCost(5000, 1.5, 20, b4=70, a1=2, kv_blocks=900, source=str(path))


def table_in(tmp_path: Path, points: object) -> StepCost:
    path = tmp_path / "cost.json"
    path.write_text(json.dumps({"b0": 2900, "b1": 8, "b2": 840, "decode": points}))
    return parse_step_cost(str(path)).cost


def test_a_decode_table_is_read_between_its_points_and_beyond_the_last(tmp_path: Path) -> None:
    cost = table_in(tmp_path, [[2, 1300], [4, 1750], [16, 12_550]])
    found = [cost.decode_us(n) for n in (0, 1, 2, 3, 4, 10, 16, 20)]
    assert found == [0, 650, 1300, 1525, 1750, 7150, 12_550, 12_550 + 4 * 840]
    assert cost.step_ns(100, 3, 0, 1) == (2900 + 800 + 1525) * 1000
    assert table_in(tmp_path, [[1, 0], [2, 0]]).decode_us(2) == 0


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ({"2": 1}, "write rising points"),
        ([[2, 1300], [2, 1400]], "[2, 1400] comes after [2, 1300.0]"),
        ([[2, 1300], [4, 1200]], "[4, 1200] comes after [2, 1300.0]"),
        ([[0, 10]], "[0, 10] comes after [0, 0.0]"),
        ([[1, "x"]], "it has [1, 'x']"),
        ([[True, 5]], "it has [True, 5]"),
        ([[1, True]], "it has [1, True]"),
        ([[1]], "it has [1]"),
        ([[1, 2, 3]], "it has [1, 2, 3]"),
        ([[1.5, 2]], "it has [1.5, 2]"),
        ([[1, math.inf]], "it has [1, inf]"),
    ],
)
def test_a_wrong_decode_table_says_which_point(points: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        table_in(tmp_path, points)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("qwen2.5-7b", "did you mean qwen2.5-7b-h100?"),
        ("something", "the names are qwen2.5-3b-h100"),
        ("b0=1,b1=2", "b2 is missing"),
        ("b0=1,b1=x,b2=-3,c=4", "no coefficient is called 'c'"),
        ("b0=5,b1=1,b0=6,b2=1", "given more than once: b0"),
        ("b0=1,b1=x,b2=-3,c=4", "b1=x: write a number of us"),
        ("b0=1,b1=x,b2=-3,c=4", "b2=-3: write a number of us"),
        ("b0=0,b1=0,b2=0", "a step must take time"),
        ("b0=1,b1=2,b2=3,decode=4", "in a .json file"),
        ("b0=1,b1=2,b2=3,kv_blocks=1.5", "kv_blocks=1.5: write a whole number"),
        ("b0=1,b1=2,b2=3,max_num_seqs=0", "max_num_seqs=0: write a whole number from 1 to 10,000,000"),
        ("b0=1,b1=2,b2=3,kv_blocks=10000001", "kv_blocks=10000001: write a whole number from 1 to 10,000,000"),
        ("b0=1,b1=2,b2=inf", "b2=inf: write a number of us from 0 to 1e+09"),
        ("b0=2e9,b1=2,b2=1", "b0=2e9: write a number of us from 0 to 1e+09"),
        ("/nowhere/cost.json", "cannot be read"),
    ],
)
def test_a_wrong_step_cost_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_step_cost(text)


def test_limits_that_are_given_stand_in_place_of_those_of_the_step_cost() -> None:
    config = read_arguments(["--engine", "batching", "--max-num-seqs", "3", "--kv-blocks", "8192"])
    cost = step_cost_of(config)
    assert (cost.max_num_seqs, cost.max_num_batched_tokens, cost.kv_blocks) == (3, 8192, 8192)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--max-num-seqs", "3"), ["--max-num-seqs has no effect with --engine sampled"]),
        (
            ("--engine", "batching", "--ttft", "1s", "--tpot", "1ms"),
            ["--ttft has no effect with --engine batching", "--tpot has no effect with --engine batching"],
        ),
        (("--engine", "replay"), ["--engine replay needs a recording"]),
        (("--engine", "sampled", "--replay", "x"), ["--replay has no effect with --engine sampled"]),
        (("--replay", "x", "--num-speculative-tokens", "2"), ["--num-speculative-tokens has no effect"]),
        (("--engine", "batching", "--workers", "2"), ["--engine batching needs all requests in one process"]),
        (("--load-slowdown", "1", "--workers", "2"), ["--load-slowdown needs all requests in one process"]),
        (("--engine", "batching", "--kv-blocks", "100"), ["the KV cache holds 1600 tokens"]),
        (("--engine", "batching", "--step-cost", "b0=1"), ["--step-cost: 'b0=1': b1 is missing; b2 is missing"]),
    ],
)
def test_what_cannot_go_together_is_refused(arguments: tuple[str, ...], says: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(arguments)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(says)
    assert all(line.startswith(start) for line, start in zip(lines, says, strict=True)), lines


def test_a_recording_makes_replay_the_engine() -> None:
    assert read_arguments(["--replay", "seen.jsonl"]).engine == "replay"
