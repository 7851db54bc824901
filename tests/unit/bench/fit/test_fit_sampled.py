"""The fit of a server with invisible steps, from streams of known distributions."""

from __future__ import annotations

import json
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import bench.fit
from bench.fit.profile import sampled_profile
from bench.fit.sampled import SampledFit, fit_sampled
from bench.fit.streams import Stream
from mockserver.cli import read_arguments
from tests.support.made_runs_of_fit import made_runs
from tests.support.rendered import fit_page, fit_text
from tests.support.results import as_json


def streams(
    users: int,
    count: int,
    *,
    seed: int = 1,
    slope_us: float = 30.0,
    spread: float = 0.3,
    follows: float = 0.0,
    load: float = 0.25,
) -> list[Stream]:
    """Users one after the other: TTFT (40 to 60 ms + slope) and gaps around 10 ms, both multiplied by 1 + load (users -
    1)."""
    chance = random.Random(seed)
    free = [1000.0 * user for user in range(users)]
    found = []
    for _ in range(count):
        user = free.index(min(free))
        sent = free[user]
        factor = 1 + load * (users - 1)
        prompt = chance.randint(100, 2000)
        first = sent + factor * (chance.uniform(40_000, 60_000) + slope_us * prompt)
        own, score = chance.gauss(0, spread**0.5), chance.gauss(0, 1)
        arrivals = [first]
        for _ in range(chance.randint(30, 60)):
            z = own + (1 - spread) ** 0.5 * score
            arrivals.append(arrivals[-1] + factor * 10_000 * 2.718 ** (0.2 * z))
            score = follows * score + (1 - follows**2) ** 0.5 * chance.gauss(0, 1)
        free[user] = arrivals[-1]
        found.append(Stream(sent, arrivals[-1], prompt, 0, tuple(arrivals), (1,) * len(arrivals), sure=True))
    return found


def fitted(**of: Any) -> SampledFit:
    return fit_sampled([streams(users, 400, seed=users, **of) for users in (1, 4, 9)])


def at(quantiles: tuple[float, ...], share: float) -> float:
    return quantiles[round(share * (len(quantiles) - 1))]


def test_ttft_is_divided_into_load_prompt_and_what_was_drawn() -> None:
    fit = fitted()
    assert fit.ttft_per_input_token_us == pytest.approx(30, rel=0.05)
    assert [at(fit.ttft_ms, share) for share in (0.1, 0.5, 0.9)] == pytest.approx([42, 50, 58], rel=0.05)
    by_load = {round(point.under_way): point.ttft for point in fit.load}
    assert [by_load[users] for users in (1, 4, 9)] == pytest.approx([1, 1.75, 3], rel=0.05)


def test_gaps_keep_their_distribution_and_the_load_its_factor() -> None:
    fit = fitted()
    assert at(fit.gap_ms, 0.5) == pytest.approx(10, rel=0.03)
    # Normal scores times 0.2 in the exponent.
    assert at(fit.gap_ms, 0.9) / at(fit.gap_ms, 0.5) == pytest.approx(2.718 ** (0.2 * 1.2816), rel=0.03)
    by_load = {round(point.under_way): point.gap for point in fit.load}
    assert [by_load[users] for users in (1, 4, 9)] == pytest.approx([1, 1.75, 3], rel=0.05)


@pytest.mark.parametrize(("spread", "follows"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.6), (0.4, 0.5), (0.6, -0.3)])
def test_what_hangs_together_is_found(spread: float, follows: float) -> None:
    fit = fitted(spread=spread, follows=follows)
    assert fit.between == pytest.approx(spread, abs=0.06)
    assert fit.follows == pytest.approx(follows, abs=0.06)


def test_prompts_of_one_length_tell_no_slope() -> None:
    same = [Stream(s.sent_us, s.end_us, 500, 0, s.arrivals_us, s.tokens, s.sure) for s in streams(1, 300, slope_us=0.0)]
    fit = fit_sampled([same])
    assert fit.ttft_per_input_token_us == 0
    assert statistics.median(fit.ttft_ms) == pytest.approx(50, rel=0.03)


def test_chunks_of_several_tokens_stand_for_as_many_gaps() -> None:
    whole = streams(1, 200)
    coarse = []
    for one in whole:
        later = one.arrivals_us[3::3]
        arrivals = (one.arrivals_us[0], *later)
        coarse.append(Stream(one.sent_us, arrivals[-1], 500, 0, arrivals, (1, *[3] * len(later)), sure=True))
    assert at(fit_sampled([coarse]).gap_ms, 0.5) == pytest.approx(10, rel=0.05)


def test_too_little_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"20 streamed replies with .* and 50 and 200 are needed"):
        fit_sampled([streams(1, 20)])


def test_the_profile_keeps_the_schema_is_served_by_the_mock_and_has_a_page(tmp_path: Path) -> None:
    runs = [streams(users, 300, seed=users) for users in (1, 8)]
    document = as_json(sampled_profile(fit_sampled(runs), made_runs(runs), date="d", trueload="t", server="a lab"))
    schema = json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text())
    Draft202012Validator(schema).validate(document)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate({**document, "engine": "batching"})
    assert document["unknown"] == []
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(document))
    config = read_arguments(["--profile", str(path)])
    assert config.sampled_times is not None
    assert config.sampled_times.factors(8) == pytest.approx((2.75, 2.75), rel=0.05)
    page = fit_page(document)
    assert "What its times are" in page
    assert "What a step costs" not in page
    assert any(line.startswith("Requests under way") for line in fit_text(document).splitlines())


def test_one_load_of_one_prompt_says_which_runs_would_tell_more() -> None:
    same = [Stream(s.sent_us, s.end_us, 500, 0, s.arrivals_us, s.tokens, sure=True) for s in streams(1, 200)]
    document = as_json(sampled_profile(fit_sampled([same]), made_runs([same]), date="d", trueload="t", server=None))
    assert [row["what"] for row in document["unknown"]] == ["load", "ttft_per_input_token_us"]
    assert "--concurrency 8 " in document["unknown"][0]["command"]
