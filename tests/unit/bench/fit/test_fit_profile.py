"""The document of a hand-made fit: its numbers, its warnings, and the further runs that it proposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from bench.fit.batching import BatchingFit
from bench.fit.coefficients import Coefficient, StepFit
from bench.fit.decode_cost import DecodeCost
from bench.fit.front_end import UNKNOWN, FrontEnd
from bench.fit.profile import (
    batching_profile,
    command_of,
    sampled_profile,
    unknown_of,
    warnings_of,
)
from bench.fit.read import FittedRun
from bench.fit.sampled import LoadPoint, SampledFit
from bench.fit.streams import Stream
from bench.fit.variation import Variation
from bench.results.profile import DRIFT, REFUSED, FittedDecode, FittedLimit, FittedLimits, Residuals, VariationLevel
from mockserver.step_cost import StepCost
from tests.support.made_runs_of_fit import made_runs
from tests.support.results import as_json


def told(value: float) -> Coefficient:
    return Coefficient(value, value - 0.5, value + 0.25, told=True)


KNOWN = {"b0": told(6000.123456), "b1": told(20.0), "b2": told(80.0), "b3": told(1.0)}
FRONT = FrontEnd(told(2000.0), told(3.0), told(4.0), "idle", 31)
LIMITS = FittedLimits(FittedLimit(8, 8, "waiting"), FittedLimit(2048, 2048, "steps"), FittedLimit(900, 77, "server"))
BIN = Residuals(4, 7, 40, -0.0112345678, 0.002, 0.02)
STEPS = StepFit(KNOWN, 400, 410, 12.3456789, 0.0123456789, (BIN,), DecodeCost((), (80.0,)))
VARIATION = Variation(1.0, 9_000.0, 50.0, (VariationLevel(4.0, (0.0, 0.25)),), 410)
FIT = BatchingFit(STEPS, FRONT, LIMITS, "single", variation=VARIATION)


def stream(sent_us: float, end_us: float, *, prompt: int = 100, sure: bool = True) -> Stream:
    return Stream(sent_us, end_us, prompt, 0, (end_us,), (1,), sure)


def together(users: int, requests: int = 0, prompt: int = 100) -> list[Stream]:
    """`users` requests at once, and others after them, one per second."""
    later = [stream(2e6 + 1e6 * place, 2.5e6 + 1e6 * place) for place in range(requests)]
    return [*(stream(float(user), 1e6, prompt=prompt) for user in range(users)), *later]


def runs_of(*users: int) -> list[FittedRun]:
    """Runs with these numbers of users. The first names the server and the model, and has longer prompts."""
    first, *others = made_runs([together(n, prompt=40 if place else 100) for place, n in enumerate(users)])
    return [first, *(replace(run, url="http://127.0.0.1:9000", model="other") for run in others)]


def document(fit: BatchingFit, runs: Sequence[FittedRun] = (), **of: Any) -> dict[str, Any]:
    given = {"date": "2026-11-02", "trueload": "0.2.0", "server": None, **of}
    made: dict[str, Any] = as_json(batching_profile(fit, runs or runs_of(2, 9), **given))
    return made


def without(*names: str, fit: BatchingFit = FIT) -> BatchingFit:
    """The fit without these step coefficients."""
    found = {name: replace(one, told=name not in names) for name, one in KNOWN.items()}
    return replace(fit, steps=replace(STEPS, coefficients=found))


def test_a_document_has_the_cost_with_its_intervals_and_limits() -> None:
    made = document(FIT)
    assert (made["schema"], made["engine"], made["model"]) == ("trueload/profile/1", "batching", "m")
    assert made["step_cost"] == {
        "b0": 6000.12, "b1": 20, "b2": 80, "b3": 1, "a0": 2000, "a1": 3, "w0": 4,
        "max_num_seqs": 8, "max_num_batched_tokens": 2048, "kv_blocks": 900,
        "variation": {
            "power": 1, "at_us": 9_000, "block": 50, "levels": [{"decodes": 4, "shares": [0, 0.25]}],
        },
    }  # fmt: skip
    assert made["settings"] == {}
    assert made["coefficients"]["b0"] == {
        "value": 6000.12, "low": 5999.62, "high": 6000.37, "told": True, "unit": "us a step",
    }  # fmt: skip
    assert [made["coefficients"][name]["unit"] for name in ("b1", "b2", "b3", "a0", "a1", "w0")] == [
        "us a prefill token", "us a decode token", "us a context token",
        "us a request", "us a prompt token", "us of an idle server",
    ]  # fmt: skip
    assert made["decode"] == []
    assert made["limits"]["kv_blocks"] == {"value": 900, "at_least": 77, "source": "server"}
    assert made["fit"] == {
        "rows": 400, "steps": 410, "scale_us": 12.3457, "left_out": 0.0123457, "chunks": "single",
        "residuals": [{
            "least_decodes": 4, "most_decodes": 7, "rows": 40, "p10": -0.0112346, "p50": 0.002, "p90": 0.02,
        }],
        "front_end": {"how": "idle", "requests": 31}, "mean_error": 0,
    }  # fmt: skip
    assert (made["warnings"], made["unknown"]) == ([], [])


def test_what_is_not_known_has_no_bound_and_no_limit() -> None:
    fit = replace(
        FIT,
        front_end=replace(FRONT, w0=UNKNOWN),
        limits=structs.replace(LIMITS, max_num_seqs=FittedLimit(None, 9, "unknown")),
    )
    made = document(fit)
    assert made["coefficients"]["w0"] == {
        "value": 0, "low": 0, "high": None, "told": False, "unit": "us of an idle server",
    }  # fmt: skip
    assert "max_num_seqs" not in made["step_cost"]
    assert made["limits"]["max_num_seqs"] == {"value": None, "at_least": 9, "source": "unknown"}


def test_a_table_of_decodes_is_in_the_cost_and_with_its_intervals() -> None:
    table = (FittedDecode(2, 1000.12345, 900.5, 1100.25), FittedDecode(8, 3000.0, 2900.0, 3100.0))
    made = document(replace(FIT, steps=replace(STEPS, table=table)))
    assert made["step_cost"]["decode"] == [[2, 1000.12], [8, 3000]]
    assert made["decode"] == [
        {"tokens": 2, "us": 1000.12, "low": 900.5, "high": 1100.25},
        {"tokens": 8, "us": 3000, "low": 2900, "high": 3100},
    ]
    assert "decode" not in document(FIT)["step_cost"]


def test_chunks_of_several_tokens_are_settings_of_the_mock() -> None:
    drafts = replace(FIT, chunks="drafts", drafts=3, acceptance=0.61234567)
    assert document(drafts)["settings"] == {"num_speculative_tokens": 3, "acceptance_rate": 0.612346}
    assert document(replace(drafts, acceptance=None))["settings"]["acceptance_rate"] == 0
    interval = replace(FIT, chunks="interval", stream_interval=4)
    assert document(interval)["settings"] == {"stream_interval": 4}
    assert [sentence[:48] for sentence in document(interval)["warnings"]] == [
        "chunks hold the tokens of several steps: limits "
    ]


def test_the_provenance_names_server_versions_and_runs() -> None:
    runs = runs_of(2, 9)
    runs = [runs[0], replace(runs[1], server="vLLM", load={"rate": 3.0}, version=None)]
    made = document(FIT, runs)["provenance"]
    assert made == {
        "server": "vLLM", "trueload": "0.2.0", "date": "2026-11-02",
        "runs": [
            {"run_id": "id-0", "name": "run-0", "started": "2026-11-01T12:00:00+00:00", "endpoint": "chat", "requests": 2,
             "most_in_flight": 2, "longest_prompt": 100, "longest_context": 101, "load": {"concurrency": 1},
             "trueload": "0.1.0"},
            {"run_id": "id-1", "name": "run-1", "started": "2026-11-01T12:00:00+00:00", "endpoint": "chat", "requests": 9,
             "most_in_flight": 9, "longest_prompt": 40, "longest_context": 41, "load": {"rate": 3.0},
             "trueload": None},
        ],
    }  # fmt: skip
    assert document(FIT, runs, server="a lab")["provenance"]["server"] == "a lab"
    assert document(FIT, runs, server="")["provenance"]["server"] == ""
    assert document(FIT)["provenance"]["server"] is None


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([(0, 10), (10, 20)], 1),  # One request ends as the next is sent.
        ([(0, 10), (9, 20)], 2),
        ([(0, 30), (5, 10), (12, 20), (14, 15)], 3),
        ([], 0),
    ],
)
def test_the_most_in_flight_are_counted_from_send_to_end(times: list[tuple[float, float]], most: int) -> None:
    (run,) = made_runs([[stream(*pair) for pair in times]])
    assert run.most_users == most


@pytest.mark.parametrize(("p50", "text"), [(0.0501, "+5%"), (-0.2, "-20%"), (0.05, None), (-0.05, None)])
def test_a_batch_size_that_the_fit_does_not_describe_is_warned_of(p50: float, text: str | None) -> None:
    off = structs.replace(BIN, p50=p50)
    found = warnings_of(replace(FIT, steps=replace(STEPS, residuals=(BIN, off))), runs_of(2))
    assert [f"steps with 4 to 7 decodes are {text} off" in sentence for sentence in found] == (
        [] if text is None else [True]
    )
    assert warnings_of(replace(FIT, steps=replace(STEPS, residuals=())), runs_of(2)) == []


@pytest.mark.parametrize(("share", "count"), [(0.1, 0), (0.101, 1)])
def test_steps_that_were_left_out_are_warned_of_from_a_tenth_on(share: float, count: int) -> None:
    found = warnings_of(replace(FIT, steps=replace(STEPS, left_out=share)), runs_of(2))
    assert len(found) == count
    assert all(sentence.startswith("10% of the steps lie far off") for sentence in found)


@pytest.mark.parametrize(("failed", "said"), [(2, []), (3, ["3 of 40 requests failed or came without known tokens"])])
def test_requests_that_show_nothing_are_warned_of_from_a_twentieth_on(failed: int, said: list[str]) -> None:
    runs = made_runs([
        [stream(float(place), 1e6, sure=place >= failed) for place in range(30)],
        [stream(float(place), 1e6) for place in range(10)],
    ])  # fmt: skip
    assert [sentence.partition(":")[0] for sentence in warnings_of(FIT, runs)] == said


@pytest.mark.parametrize(("mode", "cached", "warned"), [("sessions", 0, 1), ("sessions", 32, 0), ("concurrency", 0, 0)])
def test_conversations_whose_cached_tokens_are_not_told_are_warned_of(mode: str, cached: int, warned: int) -> None:
    runs = made_runs([[replace(stream(float(place), 1e6), cached_tokens=cached) for place in range(30)]])
    assert len(warnings_of(FIT, [replace(run, load={"mode": mode}) for run in runs])) == warned


def flags(words: str) -> str:
    """The flags of the load in a command."""
    begin, end = "python -m bench run --url http://127.0.0.1:8000 ", " --duration 60"
    assert words.startswith(begin)
    assert words.endswith(end)
    return words[len(begin) : -len(end)]


def rows(fit: BatchingFit, runs: Sequence[FittedRun]) -> dict[str, str]:
    return {row.what: flags(row.command) for row in unknown_of(fit, runs)}


@pytest.mark.parametrize("names", [("b0",), ("b2",), ("b0", "b2")])
@pytest.mark.parametrize(
    ("users", "concurrency"),
    [((2, 9), 36), ((9, 9), 1), ((2, 8), 32), ((3, 8), 1), ((40, 40), 5), ((1, 1), 4), ((1, 3), 12), ((2, 3), 1)],
)
def test_batches_of_another_size_tell_a_step_from_its_decodes(
    names: tuple[str, ...], users: tuple[int, ...], concurrency: int
) -> None:
    # After a load of few users, four times the most; otherwise a quarter of it, or a load of few.
    found = rows(without(*names), runs_of(*users))
    assert found == {
        "b0, b2": f"--concurrency {concurrency} --input-tokens uniform:32..256 --output-tokens uniform:32..128"
    }


@pytest.mark.parametrize(("users", "concurrency"), [(3, 4), (4, 4), (5, 5)])
def test_prompts_and_contexts_of_other_lengths_tell_their_cost(users: int, concurrency: int) -> None:
    runs = runs_of(1, users)
    assert rows(without("b1"), runs) == {
        "b1": f"--concurrency {concurrency} --input-tokens uniform:64..2048 --output-tokens uniform:16..64"
    }
    assert rows(without("b3"), runs) == {
        "b3": f"--concurrency {concurrency} --input-tokens uniform:64..8192 --output-tokens uniform:128..256"
    }


def test_prompts_of_one_length_do_not_tell_what_each_costs_besides_its_tokens() -> None:
    alike = made_runs([together(9), [stream(1e7, 2e7, prompt=4_000, sure=False)]])
    (row,) = unknown_of(FIT, alike)
    assert (row.what, row.why) == (
        "b4",
        "prompts are too alike in length to tell what each costs besides its tokens: b1 holds for such prompts",
    )
    assert flags(row.command) == "--concurrency 9 --input-tokens uniform:64..2048 --output-tokens uniform:16..64"
    assert "b4" not in rows(without("b1"), alike)


def front(how: str, *names: str) -> BatchingFit:
    """A front end in which these are undetermined."""
    unknown = {name: replace(getattr(FRONT, name), told=False) for name in names}
    return replace(FIT, front_end=replace(FRONT, how=how, **unknown))


def test_a_load_of_one_user_tells_the_front_end() -> None:
    runs = runs_of(2, 9)
    a0 = {"a0": "--concurrency 1 --input-tokens uniform:16..512 --output-tokens 8"}
    a1 = {"a1": "--concurrency 1 --input-tokens uniform:16..4096 --output-tokens 8"}
    assert rows(front("idle", "a0"), runs) == rows(front("idle", "a0", "a1"), runs) == a0
    assert rows(front("idle", "a1"), runs) == rows(front("both", "a1"), runs) == a1
    assert rows(front("idle", "w0"), runs) == rows(front("both"), runs) == {}


@pytest.mark.parametrize(
    ("sent_s", "rate"),
    [
        ([[0, 1, 2, 3, 4]], "0.5"),  # One per second.
        ([[0, 1, 2], [10, 10.25, 10.5, 10.75]], "2.0"),
        ([[10, 10.25, 10.5, 10.75], [0, 1, 2]], "2.0"),
        ([[0, 100]], "0.1"),
        ([[0]], "0.1"),
        ([[0, 0.3, 0.7]], "1.4"),  # 2 in 0.7 s: 2.857 per second.
    ],
)
def test_a0_and_w0_are_told_apart_by_half_the_rate_of_the_busiest_load(sent_s: list[list[float]], rate: str) -> None:
    runs = made_runs([[stream(at * 1e6, at * 1e6 + 100) for at in sent] for sent in sent_s])
    for names in (("w0",), ("w0", "a0"), ("w0", "a1")):
        found = rows(front("both", *names), runs)
        assert found.keys() == {"b4", "a0, w0"}  # All prompts have the same length.
        assert found["a0, w0"] == f"--rate {rate} --input-tokens uniform:16..512 --output-tokens 64"


def unlimited(name: str) -> BatchingFit:
    return replace(FIT, limits=structs.replace(LIMITS, **{name: FittedLimit(None, 17, "unknown")}))


@pytest.mark.parametrize(
    ("name", "users", "prompt", "load"),
    [
        ("max_num_seqs", 1, 100, "--concurrency 8 --input-tokens 32 --output-tokens uniform:64..128"),
        ("max_num_seqs", 3, 100, "--concurrency 12 --input-tokens 32 --output-tokens uniform:64..128"),
        ("max_num_batched_tokens", 3, 100, "--concurrency 4 --input-tokens 4096 --output-tokens 64"),
        ("max_num_batched_tokens", 3, 3000, "--concurrency 4 --input-tokens 6000 --output-tokens 64"),
        ("kv_blocks", 3, 100, "--concurrency 8 --input-tokens 4096 --output-tokens 512"),
        ("kv_blocks", 5, 100, "--concurrency 10 --input-tokens 4096 --output-tokens 512"),
    ],
)
def test_a_limit_that_was_not_reached_takes_a_larger_load(name: str, users: int, prompt: int, load: str) -> None:
    runs = made_runs([[stream(float(user), 1e6, prompt=prompt if user == 0 else 9) for user in range(users)]])
    (row,) = (row for row in unknown_of(unlimited(name), runs) if row.what == name)
    assert flags(row.command) == load
    assert "it is at least 17; the mock takes " in row.why


@pytest.mark.parametrize("name", ["max_num_seqs", "max_num_batched_tokens", "kv_blocks"])
def test_the_mock_takes_no_limit_below_what_the_server_was_seen_to_do(name: str) -> None:
    usual = getattr(StepCost(1, 1, 1), name)
    for seen, served in ((usual - 1, None), (usual, None), (usual + 1, usual + 1)):
        fit = replace(FIT, limits=structs.replace(LIMITS, **{name: FittedLimit(None, seen, "unknown")}))
        assert document(fit)["step_cost"].get(name) == served
        (row,) = (row for row in unknown_of(fit, runs_of(2, 9)) if row.what == name)
        assert row.why.endswith(f"it is at least {seen}; the mock takes {served or usual}")


@pytest.mark.parametrize(
    ("drifts", "failed", "said"),
    [
        ((0.0, 0.0), (0, 2), []),
        ((0.0, -0.124), (0, 0), ["steady steps: steps of run-1 got 12% faster from its first half to its second"]),
        ((0.2, 0.0), (0, 3), [
            "steady steps: steps of run-0 got 20% slower from its first half to its second",
            "failed requests: 3 of 299 requests of run-1 failed, and the mock answers all",
        ]),
        ((0.0, 0.0), (3, 0), []),  # 3 of 300 is the smallest share that an objective may allow.
    ],
)  # fmt: skip
def test_what_the_model_lacks_is_unknown(drifts: tuple[float, ...], failed: tuple[int, int], said: list[str]) -> None:
    runs = [
        replace(run, failed=many, load={"mode": "rate", "rate": 3})
        for run, many in zip(made_runs([together(2, 298), together(9, 290)]), failed, strict=True)
    ]
    rows = [row for row in unknown_of(replace(FIT, drifts=drifts), runs) if row.what in (DRIFT, REFUSED)]
    assert [f"{row.what}: {row.why.partition(' (')[0]}" for row in rows] == said
    address = "--url http://127.0.0.1:8000"
    commands = {
        DRIFT: f"python -m bench run {address} --rate 3 --duration 60",
        REFUSED: f"python -m bench search {address} --slo 'error_rate<1%'",
    }
    assert all(row.command == commands[row.what] for row in rows)


def test_decodes_alone_do_not_bound_the_tokens_of_a_step() -> None:
    runs = made_runs([[stream(float(user), 1e6, prompt=9) for user in range(17)]])
    (row,) = (
        row for row in unknown_of(unlimited("max_num_batched_tokens"), runs) if row.what == "max_num_batched_tokens"
    )
    assert "how many tokens a step computes is not shown; the mock takes 2048" in row.why


def test_rows_of_different_kinds_follow_each_other() -> None:
    fit = replace(without("b0", "b1", "b3"), front_end=replace(FRONT, a0=UNKNOWN), limits=unlimited("kv_blocks").limits)
    assert [row.what for row in unknown_of(fit, runs_of(2, 9))] == ["b0, b2", "b1", "b3", "a0", "kv_blocks"]


@pytest.mark.parametrize(
    ("endpoint", "words"), [("chat", ""), ("auto", ""), ("completions", " --endpoint completions")]
)
def test_a_command_names_an_endpoint_that_is_not_the_default(endpoint: str, words: str) -> None:
    (run,) = runs_of(1)
    found = command_of(replace(run, endpoint=endpoint), input_tokens="uniform:1..9")
    assert found == f"python -m bench run --url http://127.0.0.1:8000{words} --input-tokens uniform:1..9 --duration 60"


POINTS = (LoadPoint(1.0, 1.0, 1.0, 30), LoadPoint(8.1234567, 2.1234567, 3.1234567, 70))
SAMPLED = SampledFit((40.0, 60.0), 30.1234567, (9.0, 11.0), 0.31234567, 0.51234567, POINTS, 100, 4000)


def sampled(fit: SampledFit, runs: Sequence[FittedRun] = ()) -> dict[str, Any]:
    made: dict[str, Any] = as_json(
        sampled_profile(fit, runs or runs_of(2, 9), date="d", trueload="0.2.0", server="a lab")
    )
    return made


def test_a_document_of_sampled_times_has_quantiles_and_factors() -> None:
    made = sampled(SAMPLED)
    assert (made["schema"], made["engine"], made["model"], made["settings"]) == (
        "trueload/profile/1",
        "sampled",
        "m",
        {},
    )
    assert made["sampled_times"] == {
        "ttft_ms": [40, 60], "ttft_per_input_token_us": 30.1235, "gap_ms": [9, 11], "between": 0.312346,
        "follows": 0.512346, "load": [[1, 1, 1], [8.12346, 2.12346, 3.12346]],
    }  # fmt: skip
    assert made["seen"] == {"requests": 100, "gaps": 4000, "requests_by_load": [30, 70]}
    assert (made["warnings"], made["unknown"]) == ([], [])
    assert (made["provenance"]["server"], made["provenance"]["date"]) == ("a lab", "d")
    assert math.isfinite(made["sampled_times"]["between"])


@pytest.mark.parametrize(("users", "concurrency"), [((1, 1), 8), ((2, 1), 8), ((1, 3), 12)])
def test_one_load_says_nothing_of_another(users: tuple[int, ...], concurrency: int) -> None:
    (row,) = sampled(replace(SAMPLED, load=POINTS[:1]), runs_of(*users))["unknown"]
    assert (row["what"], flags(row["command"])) == ("load", f"--concurrency {concurrency}")


def test_a_ttft_that_does_not_grow_with_prompts_may_need_longer_ones() -> None:
    (row,) = sampled(replace(SAMPLED, ttft_per_input_token_us=0.0))["unknown"]
    assert row["what"] == "ttft_per_input_token_us"
    assert flags(row["command"]) == "--concurrency 1 --input-tokens uniform:64..4096 --output-tokens 16"


def test_runs_that_may_not_be_used_or_whose_servers_differ_are_warned_of() -> None:
    first, second, third = runs_of(1, 2, 4)
    runs = [
        replace(first, unusable="INVALID (the client was busy)", stated={"max_num_seqs": 256, "kv_blocks": 900}),
        replace(second, stated={"max_num_seqs": 64, "kv_blocks": 900}),
        replace(third, stated={}),
    ]
    said = [
        "run-0 is INVALID (the client was busy): what was fitted rests on it too",
        "the servers of these runs state another max_num_seqs each: 256 (run-0), 64 (run-1); a fit takes them for one server",
    ]
    assert [line for line in warnings_of(FIT, runs) if line in said] == said
    assert sampled_profile(SAMPLED, runs, date="d", trueload=None, server=None).warnings == said


def test_a_sampled_fit_warns_of_requests_that_show_nothing() -> None:
    runs = made_runs([[stream(float(place), 1e6, sure=place > 2) for place in range(30)]])
    assert [sentence[:29] for sentence in sampled(SAMPLED, runs)["warnings"]] == ["3 of 30 requests failed or ca"]
