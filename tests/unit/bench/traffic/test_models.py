"""Several models: their weights, the draw, their numbers, and objectives on one of them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bench.config import resolve
from bench.errors import UsageError
from bench.load.components import source_of
from bench.metrics import objectives
from bench.modes.share import divide
from bench.traffic import models
from bench.traffic.shares import Shares
from tests.support.made_records import made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_csv, run_markdown, run_page, run_text

SCHEMA = json.loads((Path(models.__file__).parents[1] / "report" / "summary.schema.json").read_text())


@pytest.mark.parametrize(
    ("given", "names", "weights"),
    [
        ("a", ("a",), (1.0,)),
        ("org/model,v2", ("org/model,v2",), (1.0,)),
        ("name=of=one", ("name=of=one",), (1.0,)),
        ("a=3, b=.5", ("a", "b"), (3.0, 0.5)),
        ("x=y=2,z=1", ("x=y", "z"), (2.0, 1.0)),
        ('{"a,b": 3, "c=1": 1.5}', ("a,b", "c=1"), (3.0, 1.5)),
        ('{"x=3": 1}', ("x=3",), (1.0,)),
    ],
)
def test_models_are_written_as_one_name_or_names_with_weights(
    given: str, names: tuple[str, ...], weights: tuple[float, ...]
) -> None:
    assert models.parse(given) == Shares(names, weights)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "is not empty"),
        ("a=3,b", "'b' in 'a=3,b' has no weight above 0"),
        ("=3,b=1", "'=3' in '=3,b=1' has no weight above 0"),
        ("a=3,b=x", "'b=x' in 'a=3,b=x' has no weight above 0"),
        ("a=3,a=1", "the model 'a' is named twice"),
        ("a=0,b=1", "the weight of 'a' must be more than 0"),
        ("{", "not JSON"),
        ('{"a": "3"}', "an object of names and weights"),
        ('{"a": true, "b": 1}', "an object of names and weights"),
        ('{"": 1}', "an object of names and weights"),
        ("{}", "an object of names and weights"),
    ],
)
def test_what_is_wrong_with_models_is_said(given: str, problem: str) -> None:
    with pytest.raises(UsageError, match="--model: ") as caught:
        resolve({"url": "http://h", "model": given})
    assert problem.lower() in str(caught.value).lower()


def test_a_load_has_a_hundred_models_at_most() -> None:
    def given(number: int) -> str:
        return ",".join(f"m{which}=1" for which in range(number))

    assert len(models.parse(given(100)).names) == 100
    with pytest.raises(UsageError, match="101 models are too many: give at most 100"):
        resolve({"url": "http://h", "model": given(101)})


def test_a_yaml_file_may_hold_a_mapping() -> None:
    config = resolve({}, {"url": "http://h", "model": {"a=b": 3, "c": 1}}, "f.yaml")
    assert config.models == Shares(("a=b", "c"), (3.0, 1.0))


def test_the_draw_follows_the_weights_and_depends_on_seed_and_number_alone() -> None:
    mix = models.parse("a=3,b=1")
    drawn = [mix.of(7, number) for number in range(4000)]
    assert 0.72 < Counter(drawn)["a"] / 4000 < 0.78
    assert drawn[100] == mix.of(7, 100)
    assert drawn != [mix.of(8, number) for number in range(4000)]


@pytest.mark.parametrize("mode", ["concurrency", "sessions"])
def test_any_worker_draws_the_models_of_its_own_numbers(mode: str) -> None:
    given = {"url": "http://h", "model": "a=1,b=1", "mode": mode, "requests": 8, "input_tokens": 40, "turns": 2}
    config = resolve(given if mode == "sessions" else {k: v for k, v in given.items() if k != "turns"})
    from promptset.tokens import load_tokenizer

    tokenizer = load_tokenizer()
    alone = [item.model for item in islice(source_of(config, tokenizer), 8)]
    mix = models.parse("a=1,b=1")
    assert alone == [mix.of(0, number) for number in range(8)]
    shares = divide(2, 2, config.length)
    dealt = [[item.model for item in islice(source_of(config, tokenizer, share), 4)] for share in shares]
    assert [dealt[number % 2][number // 2] for number in range(8)] == alone
    later = source_of(config, tokenizer, shares[1], skip=2)
    assert next(later).model == alone[5]


def test_a_row_that_names_its_model_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "model": "own"}\n{"prompt": "b"}\n')
    config = resolve({"url": "http://h", "model": "a=1,b=1", "dataset": str(tmp_path / "rows.jsonl")})
    first, second = islice(source_of(config, None), 2)
    assert first.model == "own"
    assert second.model in ("a", "b")


def mixed() -> list[Any]:
    """Three of four requests go to `slow`, whose TTFT is 100 ms; one goes to `fast`, with 10 ms. One request to `fast`
    names no model."""
    slow = [made_record(i, sent_ms=i * 10, chunks_ms=(100.0, 110.0), model="slow") for i in range(30)]
    fast = [
        made_record(30 + i, sent_ms=i * 30, chunks_ms=(10.0, 12.0), model=None if i == 0 else "fast") for i in range(10)
    ]
    return slow + fast


FACTS: dict[str, Any] = {"models": ("slow", "fast"), "model": "fast"}


def test_the_numbers_of_the_models_are_of_their_own_requests_and_add_up() -> None:
    whole = made_summary(mixed(), **FACTS)
    fast, slow = whole["models"]
    assert (fast["model"], fast["sent"], slow["model"], slow["sent"]) == ("fast", 10, "slow", 30)
    assert fast["latency"]["ttft_ms"]["p50"] == pytest.approx(10)
    assert slow["latency"]["ttft_ms"]["p50"] == pytest.approx(100)
    assert slow["latency"]["itl_ms"]["n"] == 30
    for rate in ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s"):
        parts = fast["throughput"][rate] + slow["throughput"][rate]
        assert parts == pytest.approx(whole["throughput"][rate])
    Draft202012Validator(SCHEMA["properties"]["models"] | {"$defs": SCHEMA["$defs"]}).validate(whole["models"])
    assert "models" not in made_summary(mixed())


def test_an_objective_of_a_model_is_held_against_its_numbers() -> None:
    texts = (
        "ttft{model=fast}:p99<50ms",
        "ttft{model=slow}:p99<50ms",
        "error_rate{model=slow}<1%",
        "ttft{model=x}:p50<1s",
    )
    wanted = objectives.parse(texts)
    assert [one.part for one in wanted] == [("model", name) for name in ("fast", "slow", "slow", "x")]
    rows = made_summary(mixed(), objectives=wanted, **FACTS)["slo"]["objectives"]
    assert [row["held"] for row in rows] == [True, False, True, False]
    assert [row["objective"] for row in rows] == list(texts)


def test_goodput_asks_a_request_only_what_is_about_its_model() -> None:
    wanted = objectives.parse(["ttft{model=slow}:p99<50ms"])
    whole = made_summary(mixed(), objectives=wanted, **FACTS)
    assert whole["goodput"]["share"] == pytest.approx(10 / 40)


def test_the_name_in_an_objective_keeps_its_letters_and_signs() -> None:
    (one,) = objectives.parse(["TTFT { model = Org/A=b,{1} } : p90 <= 1s"])
    assert (one.metric, one.stat, one.part, one.limit) == ("ttft", "p90", ("model", "Org/A=b,{1}"), 1000.0)


def test_an_objective_of_a_model_that_nobody_asks_is_refused() -> None:
    with pytest.raises(UsageError, match="no request goes to the model 'c': --model names a, b"):
        resolve({"url": "http://h", "model": "a=1,b=1", "slo": ("ttft{model=c}<1s",)})


def test_every_report_shows_the_models() -> None:
    whole, page = made_page(mixed(), **FACTS)
    assert "slow" in run_text(whole)
    assert "Model by model" in run_page(whole, page)
    assert "Model by model" not in run_page(*made_page(mixed()))
    assert "ttft{model=slow},ms,30" in run_csv(whole)
    assert "| slow | 30 |" in run_markdown(whole)
