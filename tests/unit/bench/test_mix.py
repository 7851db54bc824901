"""Classes of traffic: the file of --mix, how classes are drawn, their own data and arrivals, and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench import endpoints
from bench.config import RunConfig, resolve
from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import BodyOptions
from bench.load.components import source_of
from bench.metrics import objectives
from bench.modes.interface import Numbering
from bench.modes.rate import Rate
from bench.modes.share import WorkerShare, divide
from bench.records import Outcome
from bench.target.probe import samples_to_ask
from bench.traffic import classes
from bench.traffic.shares import BLOCK, Shares, seats
from bench.verdict import judge
from bench.verdict.classes import of_class
from promptset.tokens import load_tokenizer
from tests.support.made_evidence import class_of
from tests.support.made_evidence import evidence as made_evidence
from tests.support.made_mix import THREE, TWO_RATES, mixed
from tests.support.made_records import made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_csv, run_markdown, run_page, run_text

SCHEMA = json.loads((Path(classes.__file__).parents[1] / "report" / "summary.schema.json").read_text())


# The draw


@pytest.mark.parametrize("seed", [0, 7])
def test_every_block_of_a_hundred_has_each_class_as_often_as_its_share_says(seed: int) -> None:
    shares = Shares(("a", "b", "c"), (20, 60, 20))
    drawn = [shares.of(seed, number) for number in range(10_000)]
    assert Counter(drawn) == {"a": 2000, "b": 6000, "c": 2000}
    blocks = [tuple(drawn[at : at + BLOCK]) for at in range(0, 10_000, BLOCK)]
    assert all(Counter(block) == {"a": 20, "b": 60, "c": 20} for block in blocks)
    assert len(set(blocks)) == len(blocks)


def test_neighbours_are_as_those_of_independent_draws_nearly_are() -> None:
    planned = {"a": 0.2, "b": 0.6, "c": 0.2}
    shares = Shares(tuple(planned), (20, 60, 20))
    drawn = [shares.of(3, number) for number in range(20_000)]
    pairs = Counter(pairwise(drawn))
    for first, second in ("aa", "ab", "bb", "ac", "ca"):
        expected = planned[first] * planned[second] * 20_000
        assert pairs[first, second] == pytest.approx(expected, rel=0.12), (first, second)


def test_shares_that_do_not_divide_a_block_are_carried_on() -> None:
    shares = Shares(("a", "b", "c", "rare"), (1, 1, 1, 0.001))
    for total in (100, 1_000, 10_000, 100_000):
        got = seats(shares.weights, total)
        assert sum(got) == total
        assert all(abs(n - total * weight / 3.001) <= 1 for n, weight in zip(got, shares.weights, strict=True))
    drawn = Counter(shares.place(1, number) for number in range(10_000))
    assert set(drawn.values()) == {1}  # Every place is drawn once: each class goes through its data in order.
    assert all(seats(shares.weights, n + 1)[i] >= seats(shares.weights, n)[i] for n in range(700) for i in range(4))


def test_the_seats_are_those_that_are_given_one_by_one() -> None:
    weights, given = (5.0, 3.0, 1.0, 0.2), [0, 0, 0, 0]
    for total in range(500):
        assert seats(weights, total) == given
        given[max(range(4), key=lambda which: weights[which] / (2 * given[which] + 1))] += 1


def test_the_class_of_a_number_depends_on_the_seed_and_the_number_alone() -> None:
    class_of, again, other = mixed(*THREE).class_of, mixed(*THREE).class_of, mixed(*THREE, seed=1).class_of
    assert class_of is not None
    assert again is not None
    assert other is not None
    forwards = [class_of(number) for number in range(500)]
    assert [again(number) for number in reversed(range(500))] == forwards[::-1]
    assert [other(number) for number in range(500)] != forwards


# What is sent


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_send_what_one_alone_would_send(workers: int) -> None:
    config, tokenizer = mixed(*THREE), load_tokenizer()
    alone = list(islice(source_of(config, tokenizer), 40))
    shares = divide(8, workers, config.length)
    for share in shares:
        mine = list(islice(source_of(config, tokenizer, share), 40 // workers))
        assert mine == alone[share.worker :: workers]
        skipped = source_of(config, tokenizer, share, skip=3)
        assert next(skipped) == (alone + mine)[share.worker + 3 * workers]


def requests_of(config: RunConfig, share: WorkerShare, count: int) -> list[Any]:
    options = BodyOptions(endpoint=config.endpoint, model="m")
    numbering = Numbering(
        "run", first=share.worker, step=share.workers, cancel=config.cancel_of, class_of=config.class_of
    )
    source = source_of(config, load_tokenizer(), share)
    supply = numbering.supply(source, lambda sample: endpoints.encode(sample, options))
    return [supply.take("run") for _ in range(count)]


def test_a_request_of_a_class_has_the_lengths_place_and_user_of_its_class() -> None:
    config = mixed(*THREE)
    made = [one for share in divide(8, 4, config.length) for one in requests_of(config, share, 25)]
    assert Counter(one.traffic_class for one in made) == {"chat": 60, "complete": 20, "batch": 20}
    for one in made:
        body = orjson.loads(one.body)
        said = one.traffic_class, one.input_tokens_asked, body["model"], body.get("priority"), "messages" in body
        assert said in (
            ("chat", 40, "m", None, True),
            ("complete", 30, "small", 2, False),
            ("batch", 60, "m", None, True),
        )
        assert (one.route is None) == (one.traffic_class == "chat")
        if one.traffic_class == "batch":
            assert one.route.headers == (("X-Tenant", "b"),)
        assert (one.cancel_after_ns is None) == (one.traffic_class != "batch")


def test_the_planned_sharing_of_classes_counts_the_prompts_of_a_class_that_shares_nothing() -> None:
    config = mixed(
        {"name": "shares", "share": 50, "input_tokens": 512, "prefix": "tokens=256"},
        {"name": "alone", "share": 50, "input_tokens": "uniform:50..150"},
    )
    tally = source_of(config, load_tokenizer()).planned_sharing(100)
    (share,) = divide(4, 1, config.length)
    made = requests_of(config, share, 100)
    alone = [one.input_tokens_asked for one in made if one.traffic_class == "alone"]
    assert len(alone) == 50
    assert tally is not None
    # All prompts of the class except the first share 16 whole blocks of 16 tokens.
    assert (tally.tokens, tally.cached) == (50 * 512 + sum(alone), 49 * 256)


def test_each_class_goes_through_its_own_rows_and_another_class_changes_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"prompt": "{n}"}}\n' for n in range(7)))
    rows = {"name": "rows", "share": 1, "dataset": str(tmp_path / "rows.jsonl")}
    made, tokenizer = {"name": "made", "share": 2, "input_tokens": "uniform:20..60"}, load_tokenizer()
    samples = list(islice(source_of(mixed(rows, made), tokenizer), 300))
    own = [sample.prompt for sample in samples if sample.input_tokens is None]  # The user's own texts are not counted.
    assert own == [str(n % 7) for n in range(100)]
    assert source_of(mixed(rows, made), tokenizer).repeats(range(300)) == 93
    parts = [source_of(mixed(rows, made), tokenizer).repeats(range(first, 300, 4)) for first in range(4)]
    assert sum(parts) == 93
    with_third = list(islice(source_of(mixed(rows, made, {"name": "more", "share": 2}), tokenizer), 60))
    before = [sample for sample in samples if sample.input_tokens is not None]
    after = [sample for sample in with_third if sample.input_tokens is not None and sample.input_tokens <= 60]
    assert after == before[: len(after)]
    assert len({str(sample.messages) for sample in before}) == 200


def test_classes_of_the_same_lengths_send_different_prompts() -> None:
    twins = [{"name": name, "share": 1, "input_tokens": 30} for name in ("one", "two")]
    samples = list(islice(source_of(mixed(*twins), load_tokenizer()), 200))
    assert len({str(sample.messages) for sample in samples}) == 200


@pytest.mark.parametrize(
    ("of_classes", "names"),
    [
        ((None, None), "chat"),
        (("messages", "completions"), "messages, completions"),
        (("messages", "messages"), "messages"),
    ],
)
def test_a_run_is_named_by_the_endpoints_of_its_classes(of_classes: tuple[str | None, str | None], names: str) -> None:
    own = [{} if endpoint is None else {"endpoint": endpoint} for endpoint in of_classes]
    config = mixed(*({"name": f"c{number}", "share": 1, **one} for number, one in enumerate(own)))
    assert (config.endpoint_names, config.kind_for(1).endpoint) == (names, names)


def test_the_probe_asks_for_the_endpoint_and_model_of_every_class() -> None:
    config = mixed(*THREE, {"name": "two", "share": 1, "model": "x=1,y=2"})
    source = source_of(config, load_tokenizer())
    asked = samples_to_ask(ENDPOINTS["chat"], source.ways, source.own_body, all_named=True)
    assert [(one.endpoint, one.model, one.priority, one.headers) for one in asked] == [
        (None, None, None, ()),
        ("completions", "small", 2, ()),
        (None, None, None, (("X-Tenant", "b"),)),
        (None, "x", None, ()),
        (None, "y", None, ()),
    ]
    assert not source.names_models


# Separate arrivals


def test_classes_with_rates_imply_the_mode_and_add_up_to_the_load() -> None:
    config = mixed(*TWO_RATES)
    assert (config.mode, config.rate) == ("rate", 40.0)
    assert mixed(*TWO_RATES, rate=80).rate == 80.0


def arrivals_of(config: RunConfig, until_s: float) -> dict[str, list[float]]:
    assert isinstance(config.load, Rate)
    found: dict[str, list[float]] = {one.name: [] for one in config.classes}
    for at_ns, which in config.load.arrivals_of_classes():
        if at_ns > until_s * 1e9:
            return found
        found[config.classes[which].name].append(at_ns / 1e9)
    return found


def test_each_class_has_an_arrival_process_of_its_own_with_its_own_dispersion() -> None:
    one, three = ({"name": name, "rate": 20.0} for name in ("one", "three"))
    found = arrivals_of(mixed(one, {"name": "two", "rate": 20.0, "burstiness": 0.25}, three), 2_000)
    dispersion = {}
    for name, times in found.items():
        counts = Counter(int(at) for at in times)
        each = [counts[second] for second in range(2_000)]
        dispersion[name] = pvariance(each) / fmean(each)
        assert fmean(each) == pytest.approx(20, rel=0.05)
    assert dispersion["one"] == pytest.approx(1.0, abs=0.12)
    assert dispersion["two"] == pytest.approx(4.0, abs=0.6)
    assert not set(found["one"]) & set(found["three"])
    # A class has the same arrivals without the others, because its process is keyed by its name.
    assert arrivals_of(mixed(one, three), 100)["three"] == [at for at in found["three"] if at <= 100]


def test_numbers_of_requests_follow_the_merged_arrivals_also_when_they_are_scaled() -> None:
    for given in ({}, {"rate": 10}):
        config = mixed(*TWO_RATES, **given)
        assert isinstance(config.load, Rate)
        places = config.class_places
        assert places is not None
        merged = list(islice(config.load.arrivals_of_classes(), 10_000))
        assert [places(number)[0] for number in range(10_000)] == [which for _, which in merged]
        assert places(5) == (merged[5][1], [which for _, which in merged[:5]].count(merged[5][1]))
        assert merged == sorted(merged)
        assert list(islice(config.load.offsets(), 100)) == [at_ns for at_ns, _ in merged[:100]]
        assert merged[-1][0] / 1e9 == pytest.approx(10_000 / (config.rate or 0), rel=0.1)


@pytest.mark.parametrize("classes", [TWO_RATES, THREE])
def test_a_stored_run_and_a_visit_of_a_search_have_the_plan_that_was_sent(classes: Any) -> None:
    config = mixed(*classes, input_tokens=50)
    for again in (RunConfig.stored(config.public()), config.with_values(name="other")):
        assert again.load == config.load
        assert [one.config.load for one in again.classes] == [one.config.load for one in config.classes]
        assert [one.config.data for one in again.classes] == [one.config.data for one in config.classes]
        assert again.objectives == config.objectives


# Numbers


def two_classes() -> list[Any]:
    """`slow` has 30 requests with a TTFT of 100 ms. `fast` has 10 with 10 ms, two of which failed."""
    slow = [made_record(i, sent_ms=i * 10, chunks_ms=(100.0, 110.0), traffic_class="slow") for i in range(30)]
    fast = [made_record(30 + i, sent_ms=i * 30, chunks_ms=(10.0, 12.0), traffic_class="fast") for i in range(8)]
    lost = [made_record(38 + i, chunks_ms=(), outcome=Outcome.RESET, traffic_class="fast") for i in range(2)]
    return slow + fast + lost


FACTS: dict[str, Any] = {"classes": ("slow", "fast", "idle")}


def test_the_numbers_of_a_class_are_of_its_own_requests_and_those_of_all_add_up() -> None:
    whole = made_summary(two_classes(), **FACTS)
    slow, fast, idle = whole["classes"]
    assert [part["class"] for part in whole["classes"]] == ["slow", "fast", "idle"]
    assert (slow["sent"], slow["failed"], fast["sent"], fast["failed"], idle["sent"]) == (30, 0, 10, 2, 0)
    assert fast["latency"]["ttft_ms"]["p99"] == pytest.approx(10)
    assert slow["latency"]["ttft_ms"]["p50"] == pytest.approx(100)
    assert fast["error_rate"] == pytest.approx(0.2)
    for rate in ("requests_per_s", "output_tokens_per_s"):
        assert slow["throughput"][rate] + fast["throughput"][rate] == pytest.approx(whole["throughput"][rate])
    assert "classes" not in made_summary(two_classes())


def test_an_objective_of_a_class_is_held_against_its_own_numbers() -> None:
    texts = (
        "ttft{class=fast}:p99<50ms",
        "ttft{class=slow}:p99<50ms",
        "error_rate{class=fast}<1%",
        "ttft{class=idle}<1s",
    )
    whole = made_summary(two_classes(), objectives=objectives.parse(texts), **FACTS)
    assert [row["held"] for row in whole["slo"]["objectives"]] == [True, False, False, False]
    assert whole["goodput"]["share"] == pytest.approx(8 / 40)


def test_objectives_in_the_file_speak_of_their_class() -> None:
    config = mixed({"name": "a", "share": 1, "slo": "TTFT : p90 <= 1s"}, {"name": "b", "share": 1}, slo="e2el<9s")
    assert [(one.text, one.part) for one in config.objectives] == [
        ("e2el<9s", None),
        ("TTFT{class=a} : p90 <= 1s", ("class", "a")),
    ]
    assert objectives.parse([config.objectives[1].text]) == config.objectives[1:]


def test_the_verdict_on_a_class_is_that_of_the_run_but_for_its_own_failures() -> None:
    evidence = made_evidence()
    run = judge(evidence, limits := resolve({"url": "http://h"}).limits)
    good = of_class(class_of(ok=30), run, limits)
    bad = of_class(class_of(reset=10), run, limits)
    assert (good.status, bad.status) == (run.status, "FAILED")
    assert "every request failed, all 10" in bad.reasons[0]


@pytest.mark.parametrize(
    ("by_outcome", "reasons"),
    [
        ({}, ["nothing was measured: the run has no request of this class"]),
        ({"interrupted": 2, "dropped": 1}, ["nothing was measured: none of its 3 requests ended before the run did"]),
        ({"cancelled": 2}, []),
    ],
)
def test_a_class_without_a_request_that_ended_has_no_valid_numbers(
    by_outcome: dict[str, int], reasons: list[str]
) -> None:
    run = judge(made_evidence(), limits := resolve({"url": "http://h"}).limits)
    found = of_class(class_of(**by_outcome), run, limits)
    assert (found.status, found.reasons) == ("INVALID" if reasons else run.status, reasons or run.reasons)


def test_every_report_shows_the_classes() -> None:
    whole, page = made_page(two_classes(), **FACTS)
    schema = SCHEMA["properties"]["classes"] | {"$defs": SCHEMA["$defs"]}
    for part in whole["classes"]:
        part |= {"planned_share": 0.5, "slo_held": None, "verdict": {"status": "VALID", "reasons": []}}
    whole["classes"][1]["verdict"] = {"status": "SUSPECT", "reasons": ["2 of 10 requests failed (20.0%)"]}
    Draft202012Validator(schema).validate(whole["classes"])
    shown = run_text(whole)
    assert "Class fast is SUSPECT: 2 of 10 requests failed (20.0%)." in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert "Class by class" in run_page(whole, page)
    assert "ttft{class=slow},ms,30" in run_csv(whole)
    assert "| slow | 30 |" in run_markdown(whole)
