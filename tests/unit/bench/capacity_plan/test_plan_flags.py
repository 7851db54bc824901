"""The flags of `bench plan`: ranges, numbers, times, and valid combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.commands import plan
from bench.errors import UsageError
from tests.support.planned_server import profile

DAY = ["--profile", "p.json", "--rates", "day.csv"]


def asked(*words: str) -> tuple[Any, list[str]]:
    problems: list[str] = []
    given = plan._parser().parse_args([*DAY, *words])
    return plan._asked(given, ["words"], problems), problems


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], (1, 32, 10, None, None)),
        (["--replicas", "4"], (4, 4, 10, None, None)),
        (["--replicas", " 1..256 ", "--draws", "200"], (1, 256, 200, None, None)),
        (["--draws", "1", "--price", "0", "--cold-start", "0"], (1, 32, 1, 0, 0)),
        (["--price", "2.95", "--cold-start", "90s"], (1, 32, 10, 2.95, 90)),
        (["--cold-start", "1500ms"], (1, 32, 10, None, 1.5)),
        (["--cold-start", "1.5m"], (1, 32, 10, None, 90)),
        (["--cold-start", " 0.5h "], (1, 32, 10, None, 1_800)),
    ],
)
def test_a_plan_is_asked_for_with_numbers(words: list[str], values: tuple[object, ...]) -> None:
    found, problems = asked(*words)
    assert (found.least, found.most, found.draws, found.price, found.cold_start_s) == values
    assert (problems, found.command) == ([], ["python", "-m", "bench", "plan", "words"])
    assert not {"quiet", "format"} & found.settings.keys()
    assert found.settings["rates"] == "day.csv"


RANGE = "write a range like 1..32, of 1 to 256 replicas"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--replicas", "0..3"], f"--replicas 0..3: {RANGE}"),
        (["--replicas", "4..3"], f"--replicas 4..3: {RANGE}"),
        (["--replicas", "1..257"], f"--replicas 1..257: {RANGE}"),
        (["--replicas", "some"], f"--replicas some: {RANGE}"),
        (["--draws", "0"], "--draws 0: write a whole number from 1 to 200"),
        (["--draws", "2.5"], "--draws 2.5: write a whole number from 1 to 200"),
        (["--draws", "201"], "--draws 201: write a whole number from 1 to 200"),
        (["--price", "-0.1"], "--price -0.1: write a number from 0 to 1e+09"),
        (["--price", "much"], "--price much: write a number from 0 to 1e+09"),
        (["--price", "nan"], "--price nan: write a number from 0 to 1e+09"),
        (["--cold-start", "soon"], "--cold-start soon: write a time like 90s or 2m, of at most an hour"),
        (["--cold-start", "61m"], "--cold-start 61m: write a time like 90s or 2m, of at most an hour"),
    ],
)
def test_a_number_out_of_its_range_is_refused(words: list[str], problem: str) -> None:
    assert asked(*words)[1] == [problem]


def test_the_lengths_of_a_day_are_those_of_the_flags_else_of_the_busiest_run(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("0,5\n")
    made = profile(tmp_path)
    rates = ["--profile", "p", "--rates", str(tmp_path / "day.csv")]
    with pytest.raises(UsageError) as refused:
        plan._traffic(plan._parser().parse_args(rates), made)
    assert len(refused.value.problems) == 2
    day: Any = plan._traffic(plan._parser().parse_args([*rates, "--input-tokens", "7", "--output-tokens", "8"]), made)
    assert (day.input_tokens.constant, day.output_tokens.constant) == (7, 8)
    assert day.burstiness == 1
    bursts: Any = plan._traffic(plan._parser().parse_args([*rates, "--burstiness", "0.25"]), None)
    assert bursts.burstiness == 0.25
    for words, said in (
        ([*rates, "--burstiness", "0"], ["--burstiness 0: write a number from 0.01 to 100"]),
        (
            ["--rates", "none", "--burstiness", "much"],
            ["--burstiness much: write a number from 0.01 to 100", "--rates none"],
        ),
        (
            ["--trace", "none", "--burstiness", "2", "--input-tokens", "5"],
            [
                "--burstiness goes with --rates: a trace has its own times",
                "--input-tokens and --output-tokens",
                "--trace: the data set none",
            ],
        ),
        (
            ["--rates", "none", "--bad-rows", "skip", "--burstiness", "0"],
            ["--columns and --bad-rows go with --trace", "--burstiness 0: write a number", "--rates none"],
        ),
    ):
        with pytest.raises(UsageError) as refused:
            plan._traffic(plan._parser().parse_args(words), None)
        assert len(refused.value.problems) == len(said)
        assert all(map(str.startswith, refused.value.problems, said))
    # If the profile cannot be read, nothing else is said about it.
    assert plan._traffic(plan._parser().parse_args(rates), None).hours == day.hours


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rates", "d", "--columns", "at_s=a"], "--columns and --bad-rows go with --trace"),
        (["--rates", "d", "--bad-rows", "skip"], "--columns and --bad-rows go with --trace"),
        (["--trace", "t", "--input-tokens", "5"], "--input-tokens and --output-tokens go with --rates: a trace has its own"),
        (["--trace", "t", "--output-tokens", "5"], "--input-tokens and --output-tokens go with --rates: a trace has its own"),
    ],
)  # fmt: skip
def test_flags_of_a_trace_and_of_a_day_do_not_mix(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        plan._traffic(plan._parser().parse_args(["--profile", "p", *words]), None)
