"""Values in a file of settings: which are refused, each with its whole sentence, and how large a file may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config.resolution import MOST_VALUES, given_again, has_few_values, read_yaml
from bench.errors import UsageError
from tests.support.configurations import problems, resolved

NO_TRUTH = "must be a number, not yes, no, true or false"
NO_SUCH_KEY = "is not known: keys are the names of flags, which python -m bench run --help-all lists"


@pytest.mark.parametrize(
    ("file", "sentences"),
    [
        ({"concurrency": True, "stream": True, "name": True, "rate": False},
         [f"concurrency: {NO_TRUTH} (given: true)", f"rate: {NO_TRUTH} (given: false)", "name: must be text (given: True)"]),
        ({"header": ["a\0"], "name": "b\0"}, ["header contains a zero byte", "name contains a zero byte"]),
        ({"rat": 4, "zzzz": 1}, ["rat is not known: did you mean rate?", f"zzzz {NO_SUCH_KEY}"]),
        ({"request_rate": 5},
         ["request_rate is not known: write --rate 5. Arrivals are Poisson; --arrivals constant sends at equal intervals."]),
        ({"limits": {"errors": {"suspect": "x"}}}, ["limits.errors.suspect: must be a number (given: 'x')"]),
        ({"seed": 1.5}, ["seed: must be a whole number (given: 1.5)"]),
        ({"seed": -1}, ["seed: must be at least 0 (given: -1)"]),
        ({"stream": 3}, ["stream: must be true or false (given: 3)"]),
        ({"api_key": 5}, ["api_key: must be text"]),
        ({"header": 5}, ["header: must be a list"]),
        ({"slo": 5}, ["slo: must be a list (given: 5)"]),
        ({"extra_body": [1]}, ["extra_body: must be an object of fields and values"]),
        ({"mode": "warp"}, ["mode: 'warp' is not one of concurrency, rate, throughput, trace, sessions"]),
        ({"format": "x"}, ["format: must be 'text' or 'json' (given: 'x')"]),
        ({"repeated_text": 1.5}, ["repeated_text: must be less than 1 (given: 1.5)"]),
        ({"input_tokens": [1]}, ["input_tokens: '[1]' is not a number (example: 128)"]),
        # What another tool would take is answered; the other values of the setting are refused as usual.
        ({"header": ["a=b", "bad", "X: 1"]},
         ['header a=...: put a colon between name and value: --header "a: VALUE"',
          "header: a header is written NAME:VALUE, for example 'X-Tenant: a'"]),
        ({"header": ["a=b"]}, ['header a=...: put a colon between name and value: --header "a: VALUE"']),
        ({"mode": " closed "}, ["mode closed: write --mode concurrency --concurrency 32"]),
    ],
)  # fmt: skip
def test_a_value_of_a_file_is_refused_by_its_key(file: dict[str, Any], sentences: list[str]) -> None:
    assert problems(file, "f.yaml") == [f"f.yaml: {sentence}" for sentence in sentences]


def test_all_problems_of_a_load_are_told_at_once() -> None:
    file = {"until": ["ttft:p90=10%"], "steps": "1,2:5s", "mode": "throughput", "requests": 5}
    assert problems(file, "f.yaml") == [
        "--steps is for --mode concurrency and rate, and this is mode throughput",
        "--until needs a constant load, and --steps changes it: use only one of them",
        "--until needs a constant load (--mode concurrency, rate, sessions), and this is mode throughput",
    ]


def test_addresses_are_judged_one_by_one_and_together() -> None:
    assert problems(url=["http://a", "http://a", "http://b", "http://b", "http://c"]) == [
        "--url: http://a is given twice", "--url: http://b is given twice",
    ]  # fmt: skip
    weight = "must be more than 0 and at most 1e+06"
    assert problems(url=["http://a=-1", "http://b=1000001", "http://c=nan"]) == [
        f"--url: the weight of http://{name} {weight}" for name in "abc"
    ]
    assert problems(url=[{"url": "http://a", "weight": 2}, {"url": "http://b", "wieght": 2}]) == [
        "--url: an address has the keys url and weight"
    ]
    assert problems(url=["http://a/v1/chat/completions", "http://b/v1/completions"]) == [
        "--url: the addresses name different endpoints: give every URL the same path, or none"
    ]
    assert resolved(url=["http://a=1e6", "http://b=0.000001"]).balancing == "weighted"


def test_a_file_of_addresses_names_the_line_of_a_wrong_one(tmp_path: Path) -> None:
    file = tmp_path / "fleet"
    file.write_text("# ours\nhttp://a\nftp://b\n\nhttp://c=0\n")
    assert [problem.partition(": ")[0] for problem in problems(url=f"@{file}")] == [
        f"--url @{file}, line 3", f"--url @{file}, line 5",
    ]  # fmt: skip
    file.write_text("# none\n")
    assert problems(url=f"@{file}") == [f"--url @{file}: the file has no address"]
    assert problems(url="@/nowhere") == ["--url @/nowhere: the file cannot be read (No such file or directory)"]


@pytest.mark.parametrize("kind", [list, dict])
def test_a_file_may_have_a_hundred_thousand_values(kind: type) -> None:
    def content(values: int) -> object:
        # The container is a value, too.
        return [0] * (values - 1) if kind is list else dict.fromkeys(range(values - 1), 0)

    assert has_few_values(content(MOST_VALUES))
    assert not has_few_values(content(MOST_VALUES + 1))
    inner = [0] * (MOST_VALUES // 2)
    assert has_few_values([inner])
    assert not has_few_values([inner, inner])  # As by an alias: each time counts.


def test_a_setting_given_three_times_names_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("rate: 1\nseed: 2\nrate: 3\nrate: 4\n")
    with pytest.raises(UsageError) as refused:
        read_yaml(path)
    assert refused.value.problems == [
        f"--config {path}, line {line}: rate is already in line 1: use only one of them" for line in (3, 4)
    ]


def test_only_a_run_directory_has_its_settings_under_config(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("config: {rate: 5.0, out: runs/a, seed: 0}\nmanifest: {run_id: a}\n")
    assert read_yaml(path) == {"rate": 5.0}
    for text in ("config: {rate: 5}\n", "manifest: {}\nconfig: 3\n"):
        path.write_text(text)
        assert "config" in read_yaml(path)


def test_settings_of_a_run_are_given_again_without_its_defaults_and_secrets() -> None:
    config = resolved(url=["http://a=3", "http://b"], rate="5", api_key="k", header=["X: y"], out="runs/a", seed="7")
    again = given_again(config.public())
    assert again["url"] == ["http://a=3", "http://b"]
    assert (again["rate"], again["seed"]) == (5.0, 7)
    assert not {"api_key", "header", "out", "format"} & again.keys()
