"""The file of --mix: how it is given and kept, and its problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.errors import UsageError
from tests.support.made_mix import THREE, TWO_RATES, mixed


def test_the_file_is_given_by_its_path_and_kept_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(
        "classes:\n- {name: a, share: 3, headers: {X-Key: secret}}\n- {name: b, share: 1, input_tokens: 64}\n"
    )
    config = resolve({"url": "http://h", "mix": str(path)})
    assert [one.config.input_tokens for one in config.classes] == ["1024", "64"]
    path.unlink()
    kept = config.public()["mix"]
    assert "secret" not in str(kept)
    again = RunConfig.stored({**config.public()})
    assert [one.name for one in again.classes] == ["a", "b"]
    with pytest.raises(UsageError, match="class a: headers: they were stored without their values"):
        resolve({"url": "http://h", "mix": kept})


@pytest.mark.parametrize("headers", [None, {}])
def test_a_class_whose_headers_are_empty_has_none(headers: dict[str, str] | None) -> None:
    config = resolve({"url": "http://h", "mix": {"classes": [{"name": "a", "share": 1, "headers": headers}]}})
    again = RunConfig.stored(config.public())
    assert [one.way.headers for one in again.classes] == [()]


def test_all_problems_of_a_file_are_told_at_once_with_class_and_key() -> None:
    wrong = [
        {"name": "a", "share": 0, "input_tokens": "0", "promt": 1},
        {"name": "a", "rate": 5, "headers": {"X": 1}, "priority": 1.5},
        {"name": "no name", "share": 1, "rate": 1, "slo": "ttfx<1s"},
        7,
    ]
    with pytest.raises(UsageError) as raised:
        mixed(*wrong)  # type: ignore[arg-type]
    said = "\n".join(raised.value.problems)
    for sentence in (
        "--mix: class a: share: must be a number above 0",
        "--mix: class a: input_tokens: '0' is too small",
        "--mix: class a: promt is not known",
        "--mix: class a: headers: the value of X must be a string",
        "--mix: class a: priority must be a whole number",
        "--mix: class a: name: two classes have it",
        "--mix: class no name: name: give letters",
        "--mix: class no name: give either share",
        "--mix: class no name: slo: ",
        "--mix: class 4: 7 has no keys",
        "give all of them shares, or all of them rates",
    ):
        assert sentence in said


@pytest.mark.parametrize("written", ["0.000001", "1e-6", "1E-6", "0.000001%", 1e-6])
def test_a_very_small_share_may_be_written_as_any_number_is(written: object, tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(f"classes:\n- {{name: rare, share: {written}}}\n- {{name: often, share: 1}}\n")
    config = resolve({"url": "http://h", "mix": str(path)})
    assert [one.traffic.weight for one in config.classes] == [1e-6, 1.0]


@pytest.mark.parametrize(
    ("given", "classes", "problem"),
    [
        ({"mode": "sessions"}, THREE, "classes are for --mode concurrency, rate, throughput, and this is mode sessions"),
        ({"mode": "concurrency"}, TWO_RATES, "rates of classes are for --mode rate"),
        ({"steps": "5,10:10s", "mode": "rate", "requests": None}, TWO_RATES, "--steps sets the rate"),
        ({}, [{"name": "a", "share": 1, "endpoint": "embeddings"}], "class a: endpoint: one run cannot mix endpoints"),
        ({}, [{"name": "a", "share": 1, "endpoint": "embeddings"}], "inputs, and that of the run is chat"),
        ({}, [{"name": "a", "share": 1, "burstiness": 2}], "class a: burstiness needs a class with a rate"),
        ({}, [{"name": "a", "share": 1, "columns": "prompt=q"}], "class a: columns needs a file in dataset"),
        ({}, [{"name": "a", "share": 1, "slo": "ttft{model=m}<1s"}], "an objective of a class covers the whole class"),
        ({"stream": False}, [{"name": "a", "share": 1, "slo": "ttft<1s"}], "class a: slo \"ttft<1s\": with"),
        ({"slo": "ttft{class=b}<1s"}, [{"name": "a", "share": 1}], "no request is of the class 'b': --mix has a"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(given: dict[str, Any], classes: Any, problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        mixed(*classes, **given)
    assert problem in "\n".join(raised.value.problems)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        ("classes: [", "not YAML"),
        (r'classes: "\U006F0100"', "not YAML"),
        ("classes: " + "[" * 1000, "is nested too deeply"),
        ("", "must hold `classes:`"),
        ("classes: []\n", "must hold `classes:`"),
        ("seed: 3\nclasses: [{name: a, share: 1}]\n", "seed is not known"),
    ],
)
def test_a_file_that_holds_no_classes_is_refused(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=f"--mix: .*{problem}"):
        resolve({"url": "http://h", "mix": str(path)})


def test_a_mix_has_a_hundred_classes_at_most() -> None:
    def classes(number: int) -> list[dict[str, Any]]:
        return [{"name": f"c{which}", "share": 1} for which in range(number)]

    assert len(mixed(*classes(100)).classes) == 100
    with pytest.raises(UsageError, match="101 classes are too many: give at most 100"):
        mixed(*classes(101))


def test_an_objective_of_a_class_needs_classes() -> None:
    with pytest.raises(UsageError, match="name the classes of the run with --mix"):
        resolve({"url": "http://h", "slo": "ttft{class=b}<1s"})
