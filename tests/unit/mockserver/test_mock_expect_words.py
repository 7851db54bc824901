"""What an expectation says about its numbers: how each was derived, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from mockserver.config import MockConfig
from mockserver.expect import EXPECTATIONS, RequestLengths

ITSELF = "the distribution of --{} itself, limits included: mean and quantiles in closed form"
LIKE_TPOT = "; all gaps of a request equal its TPOT, which does not depend on its length"
NUMERIC = "ms (error below one step, and below the noise of 40,000 requests)"


def expect(asked: RequestLengths | None = None, **config: Any) -> dict[str, Any]:
    return EXPECTATIONS["sampled"](MockConfig(**config), asked or RequestLengths())


def test_gaps_are_those_of_a_tpot_or_their_own() -> None:
    drawn_once, drawn_each = expect(tpot="exp:mean=20ms"), expect(itl="exp:mean=20ms", output_tokens=9)
    assert drawn_once["tpot_ms"]["how"] == ITSELF.format("tpot")
    assert drawn_once["itl_ms"]["how"] == ITSELF.format("tpot") + LIKE_TPOT
    assert drawn_each["itl_ms"]["how"] == ITSELF.format("itl")
    assert drawn_once["ttft_ms"]["how"] == drawn_each["ttft_ms"]["how"] == ITSELF.format("ttft")
    assert drawn_each["tpot_ms"]["how"].startswith(
        "the mean of a request's n - 1 gaps, over the requests with two tokens and more: the mean in closed form; "
    )
    assert drawn_each["tpot_ms"]["how"].endswith(NUMERIC)
    # A mean of constant gaps is the gap itself.
    assert expect(itl="20ms")["tpot_ms"] == {
        "mean": 20.0, "p50": 20.0, "p90": 20.0, "p95": 20.0, "p99": 20.0, "how": ITSELF.format("itl"),
    }  # fmt: skip
    alone = expect(itl="20ms", output_tokens=1)["tpot_ms"]
    assert alone == {**dict.fromkeys(("mean", "p50", "p90", "p95", "p99")), "how": "no request has two tokens"}


@pytest.mark.parametrize(
    ("config", "formula", "how"),
    [
        ({"ttft": "exp:mean=5ms", "tpot": "2ms", "output_tokens": 4}, "TTFT + (n - 1) TPOT",
         "all after the first token is constant, so the quantiles are those of TTFT, moved"),
        ({"ttft": "exp:mean=5ms", "itl": "2ms", "output_tokens": 4}, "TTFT + the sum of n - 1 gaps",
         "all after the first token is constant, so the quantiles are those of TTFT, moved"),
        ({"ttft": "5ms", "tpot": "exp:mean=2ms", "output_tokens": 4}, "TTFT + (n - 1) TPOT",
         "TTFT and n are constant, so the quantiles are those of TPOT, scaled and moved"),
        ({"ttft": "5ms", "tpot": "2ms", "output_tokens": "uniform:1..4"}, "TTFT + (n - 1) TPOT",
         "every value is listed, so that the quantiles are exact"),
        ({"ttft": "5ms", "itl": "2ms", "output_tokens": "uniform:1..4"}, "TTFT + the sum of n - 1 gaps",
         "every value is listed, so that the quantiles are exact"),
    ],
)  # fmt: skip
def test_a_latency_says_how_its_quantiles_were_had(config: dict[str, Any], formula: str, how: str) -> None:
    said = expect(**config)["e2el_ms"]["how"]
    assert said == f"{formula}, drawn independently: the mean in closed form; {how}"


def test_a_convolution_says_its_step() -> None:
    said = expect(ttft="exp:mean=5ms", tpot="exp:mean=2ms", output_tokens=4)["e2el_ms"]["how"]
    assert said.startswith("TTFT + (n - 1) TPOT, drawn independently: the mean in closed form; quantiles by numeric ")
    # The grid ends about where TTFT and three times TPOT have a probability of 1e-5: at 58 and at 69 ms.
    step = float(said.partition("on a grid of ")[2].partition(" ")[0])
    assert 100 / (1 << 14) < step < 200 / (1 << 14)
    assert said.endswith(NUMERIC)


ITSELF_TOKENS = "the distribution of --output-tokens itself, limits and rounding included: in closed form"


@pytest.mark.parametrize(
    ("config", "asked", "how"),
    [
        ({"output_tokens": "uniform:1..20"}, RequestLengths(), ITSELF_TOKENS),
        ({"output_tokens": "uniform:1..20"}, RequestLengths(output_tokens=5), "what each request asks for"),
        ({"output_tokens": "uniform:1..20", "max_model_len": 25}, RequestLengths(input_tokens=5), ITSELF_TOKENS),
        ({"output_tokens": "uniform:1..20", "max_model_len": 25}, RequestLengths(input_tokens=6),
         f"{ITSELF_TOKENS}; at most 19 tokens fit into the context"),
        ({"output_tokens": "uniform:1..2000000", "max_model_len": 3_000_000}, RequestLengths(),
         "the distribution of --output-tokens in 8,192 groups of neighbouring lengths"),
    ],
)  # fmt: skip
def test_lengths_say_where_they_come_from(config: dict[str, Any], asked: RequestLengths, how: str) -> None:
    told = expect(asked, tpot="1ms", ttft="1ms", **config)
    assert told["output_tokens"]["how"] == how
    assert told["asked"] == {"output_tokens": asked.output_tokens, "input_tokens": asked.input_tokens}


def test_a_reply_that_fills_the_context_has_at_least_a_token() -> None:
    told = expect(RequestLengths(input_tokens=100), max_model_len=100, output_tokens="uniform:1..20")
    assert {told["output_tokens"][name] for name in ("mean", "p50", "p99")} == {1.0}
    clipped = expect(RequestLengths(input_tokens=90), max_model_len=100, output_tokens="uniform:1..20")
    assert clipped["output_tokens"]["mean"] == pytest.approx(sum(min(n, 10) for n in range(1, 21)) / 20)
    assert (clipped["output_tokens"]["p50"], clipped["output_tokens"]["p90"]) == (10, 10)


def test_a_context_that_is_unknown_is_left_out() -> None:
    note = "replies cut short because the context of 4,096 tokens ends: add input_tokens to the question"
    left_out = expect(max_model_len=4096, fault=["500:rate=0.5"])["leaves_out"]
    assert left_out[-1] == note.replace("4,096", "4096")
    assert left_out[-2] == "the fault 500:rate=0.5"
    assert left_out[0] == "requests that a fault hits"
    assert len(left_out) == 6


@pytest.mark.parametrize(("drafts", "speculated"), [(0, False), (1, True)])
def test_an_expectation_counts_steps_only_with_drafts(drafts: int, speculated: bool) -> None:
    assert ("steps" in expect(num_speculative_tokens=drafts)) is speculated
