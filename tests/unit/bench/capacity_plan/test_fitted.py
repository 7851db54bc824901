"""The servers that a fitted one may as well be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from bench.capacity_plan.fitted import FittedServer, drawn
from bench.capacity_plan.plan import warnings_of
from bench.capacity_plan.traffic import Trace
from bench.results.profile import FittedCoefficient
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


def test_a_fit_of_users_alone_does_not_know_an_idle_server(tmp_path: Path) -> None:
    found = [warnings_of(stretches(tmp_path, "ttft:p99<1s", of_users=of_users)[0]) for of_users in (True, False)]
    assert [any("no run at a rate was fitted" in one for one in warnings) for warnings in found] == [True, False]


def test_rows_of_the_trace_that_are_left_out_are_counted(tmp_path: Path) -> None:
    made, _ = stretches(tmp_path, "ttft:p99<1s")
    made.traffic = Trace(made.traffic.hours, (), left_out=2)
    assert "2 rows of the trace are left out: they are bad, or have no time or no tokens" in warnings_of(made)


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
