"""The expectations of /truth for engines and options beyond plain draws, against drawn and simulated plans."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from mockserver.config import MockConfig
from mockserver.engine import ENGINES, EngineRequest
from mockserver.expect import EXPECTATIONS, RequestLengths
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import ReplyLength, draw_plan

MS = 1e6


def expect(config: MockConfig, **asked: int) -> dict[str, Any]:
    return EXPECTATIONS[config.engine](config, RequestLengths(**asked))


def plans(config: MockConfig, n: int, *, asked_tokens: int, input_tokens: int = 0) -> list[Any]:
    latencies = latencies_of(config)
    return [
        draw_plan(latencies, 7, key, ReplyLength(10_000, asked_tokens), input_tokens=input_tokens) for key in range(n)
    ]


def below(values: list[float], quantile: float) -> float:
    return sum(value <= quantile for value in values) / len(values)


def test_batching_expects_the_closed_form_of_the_tokens_that_are_asked_for() -> None:
    expected = expect(MockConfig(engine="batching"), input_tokens=1024, output_tokens=128)
    assert expected["capacity_requests_per_s"] == pytest.approx(42.98, abs=0.005)
    assert expected["half_load_users"] == pytest.approx(7052 / (19.54 * 1024 / 128 + 25.43))
    by_users = {row["users"]: row for row in expected["users"]}
    assert by_users[32]["tpot_ms"] == pytest.approx((7052 + 32 * (19.54 * 8 + 25.43)) / 1000)
    assert by_users[32]["requests_per_s"] == pytest.approx(32 / (128 * by_users[32]["tpot_ms"]) * 1000)
    assert by_users[32]["output_tokens_per_s"] == pytest.approx(128 * by_users[32]["requests_per_s"])
    assert expected["step_cost"]["b1"] == 19.54
    assert "closed loop" in expected["how"]


def test_a_server_whose_requests_add_nothing_has_no_ceiling() -> None:
    expected = expect(MockConfig(engine="batching", step_cost="b0=5000,b1=0,b2=0"), output_tokens=10)
    assert expected["capacity_requests_per_s"] is expected["half_load_users"] is None
    assert expected["users"][3]["tpot_ms"] == pytest.approx(5)


def test_batching_names_no_user_beyond_what_its_limits_hold() -> None:
    # A request of 1,152 tokens holds 72 blocks.
    few = MockConfig(engine="batching", kv_blocks=720, max_model_len=2048)
    assert expect(few, output_tokens=128)["most_users"] == 10
    assert [row["users"] for row in expect(few, output_tokens=128)["users"]] == [1, 2, 4, 8]
    narrow = MockConfig(engine="batching", max_num_seqs=2)
    assert [row["users"] for row in expect(narrow)["users"]] == [1, 2]


def test_with_a_slowdown_n_users_see_the_formula() -> None:
    expected = expect(MockConfig(load_slowdown=0.1, tpot="10ms", ttft="40ms"))
    by_users = {row["users"]: row for row in expected["users"]}
    assert [*by_users] == [2**i for i in range(11)]
    assert by_users[1] == {"users": 1, "ttft_ms": {"mean": 40}, "tpot_ms": {"mean": 10}}
    assert by_users[16]["tpot_ms"]["mean"] == pytest.approx(25)
    assert "Plans depend on the load" in expected["how"]


def test_with_speculation_the_means_are_those_of_the_plans() -> None:
    config = MockConfig(
        num_speculative_tokens=4, acceptance_rate=0.8, ttft="exp:mean=40ms", itl="gamma:mean=20ms,cv=0.5"
    )
    expected = expect(config, output_tokens=60)
    drawn = plans(config, 3000, asked_tokens=60)
    e2els = [(plan.ttft_ns + sum(plan.gaps_ns)) / MS for plan in drawn]
    tpots = [sum(plan.gaps_ns) / 59 / MS for plan in drawn]
    for name, seen in (("e2el_ms", e2els), ("tpot_ms", tpots)):
        error = statistics.stdev(seen) / len(seen) ** 0.5
        assert abs(statistics.fmean(seen) - expected[name]["mean"]) < 4 * error, name
    assert expected["tpot_ms"]["mean"] < 20 / 2


@pytest.mark.parametrize("each", ["50us", "uniform:20us..80us", "lognormal:mean=50us,cv=0.5"])
def test_what_the_input_adds_is_in_mean_and_quantiles(each: str) -> None:
    config = MockConfig(ttft="lognormal:mean=50ms,cv=0.4", ttft_per_input_token=each)
    expected = expect(config, output_tokens=10, input_tokens=1000)
    drawn = plans(config, 8000, asked_tokens=10, input_tokens=1000)
    ttfts = [plan.ttft_ns / MS for plan in drawn]
    assert expected["ttft_ms"]["mean"] == pytest.approx(100)
    assert expected["e2el_ms"]["mean"] == pytest.approx(100 + 9 * 20)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        # Four standard deviations of a share in 8,000 draws.
        assert abs(below(ttfts, expected["ttft_ms"][name]) - share) < 4 * (share * (1 - share) / 8000) ** 0.5
    assert (expected["e2el_ms"]["p99"] is None) == (each != "50us")
    assert any("add input_tokens" in note for note in expect(config, output_tokens=10)["leaves_out"])


def test_a_stream_interval_is_named_among_what_is_left_out() -> None:
    assert any("--stream-interval 8" in note for note in expect(MockConfig(stream_interval=8))["leaves_out"])
    assert not any("stream-interval" in note for note in expect(MockConfig())["leaves_out"])


def test_a_recording_is_its_own_expectation_and_a_profile_is_sampled_from(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"index": i, "status": 200, "fault": None, "engine": {}, "received_ns": 0, "chunk_kind": "ccc",
         "write_ns": [10_000_000 * (i + 1), 10_000_000 * (i + 1) + 4_000_000, 10_000_000 * (i + 1) + 8_000_000],
         "chunk_tokens": [1, 3, 1]}
        for i in range(4)
    ]  # fmt: skip
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = expect(MockConfig(replay=path))
    assert expected["replies"] == 4
    assert (expected["ttft_ms"]["mean"], expected["ttft_ms"]["p50"], expected["ttft_ms"]["p99"]) == (25, 20, 40)
    assert expected["tpot_ms"]["p50"] == 2
    assert expected["e2el_ms"]["mean"] == 33
    profile = tmp_path / "profile.json"
    profile.write_text('{"ttft": "exp:mean=70ms", "tpot": "3ms"}')
    sampled = expect(MockConfig(ttft="exp:mean=70ms", tpot="3ms"), output_tokens=5)
    assert expect(MockConfig(replay=profile), output_tokens=5) == sampled


def test_each_engine_has_an_expectation_and_can_be_made(tmp_path: Path) -> None:
    assert EXPECTATIONS.keys() == ENGINES.keys()
    for name, make in ENGINES.items():
        config = MockConfig(engine=name, **({"replay": tmp_path / "x"} if name == "replay" else {}))
        engine = make(config)
        plan = draw_plan(latencies_of(MockConfig()), 0, 1, ReplyLength(9, asked=3))
        engine.admit(1, EngineRequest(0, plan, 5))
        tokens = 0
        while (at := engine.next_ns()) is not None:
            tokens += sum(given for _, given in engine.step(at))
        assert tokens == 3, name
        assert len(engine.release(1).plan.gaps_ns) == 2
