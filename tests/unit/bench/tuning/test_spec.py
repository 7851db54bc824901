"""The file of a race: its arms, their command lines, and its problems."""

from __future__ import annotations

import copy
import socket
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.tuning import conditions
from bench.tuning.arms import command_words, gpus_of
from bench.tuning.servers import refuse_taken
from bench.tuning.spec import Spec, read, spec_of

BASE: dict[str, Any] = {
    "server": {"command": "serve --port {port} {flags}"},
    "flags": {"seqs": [64, 16, 256], "tokens": [2048, 128]},
    "loads": "concurrency=8",
}


def made(**changes: Any) -> Spec:
    content = copy.deepcopy(BASE)
    for name, value in changes.items():
        content[name] = {**content[name], **value} if name == "server" else value
    return spec_of(content, lambda settings: resolve(dict(settings)))


def names(spec: Spec) -> list[str]:
    return [arm.name for arm in spec.arms]


def test_a_grid_begins_with_the_default() -> None:
    assert names(made()) == [
        "seqs=64 tokens=2048", "seqs=64 tokens=128", "seqs=16 tokens=2048", "seqs=16 tokens=128",
        "seqs=256 tokens=2048", "seqs=256 tokens=128",
    ]  # fmt: skip
    assert names(made(default={"seqs": 16}))[0] == "seqs=16 tokens=2048"
    assert len(made(default={"seqs": 16}).arms) == 6


def test_each_command_line_is_an_arm_once() -> None:
    spec = made(flags={"seqs": [False, 0, True, 1, 1.0, "1"]})
    assert [arm.words("s {flags}", 1) for arm in spec.arms] == [
        ["s"],
        ["s", "--seqs", "0"],
        ["s", "--seqs"],
        ["s", "--seqs", "1"],
    ]
    assert names(spec) == ["seqs=false", "seqs=0", "seqs=true", "seqs=1"]


def test_flags_are_varied_one_at_a_time() -> None:
    assert names(made(vary="one")) == ["the default", "seqs=16", "seqs=256", "tokens=128"]


def test_combinations_are_excluded_and_listed() -> None:
    assert "seqs=256 tokens=128" not in names(made(exclude=["seqs > tokens"]))
    listed = made(flags={}, default={"seqs": 1}, arms=[{"seqs": 2}, {"seqs": 3, "fast": True}])
    assert names(listed) == ["seqs=1", "seqs=2", "seqs=3 fast=true"]


def test_a_flag_that_needs_another_is_left_out_without_it() -> None:
    spec = made(flags={"spec": [False, True], "drafts": [2, 4]}, needs={"drafts": "spec == true"})
    assert names(spec) == ["spec=false", "spec=true drafts=2", "spec=true drafts=4"]
    assert [arm.words("s {flags}", 1) for arm in spec.arms] == [
        ["s"], ["s", "--spec", "--drafts", "2"], ["s", "--spec", "--drafts", "4"],
    ]  # fmt: skip


def test_the_gpus_of_an_arm_may_be_the_value_of_a_flag() -> None:
    spec = made(flags={"tensor-parallel-size": [1, 2, 4]}, gpus="tensor-parallel-size")
    assert [arm.gpus for arm in spec.arms] == [1, 2, 4]


@pytest.mark.parametrize(
    ("gpus", "flags", "taken"),
    [
        (3, {"tp": 8}, 3),
        ("tp", {"tp": 8}, 8),
        ("tp", {"tp": "8"}, 8),
        ("tp", {"tp": 8.0}, 8),
        # An invalid number of GPUs counts as one.
        *(("tp", flags, 1) for flags in ({}, {"tp": "auto"}, {"tp": True}, {"tp": None}, {"tp": 2.5}, {"tp": "-2"})),
    ],
)
def test_a_flag_says_how_many_gpus_there_are_where_it_is_a_whole_number(
    gpus: int | str, flags: dict[str, Any], taken: int
) -> None:
    assert gpus_of(gpus, flags) == taken


@pytest.mark.parametrize(
    ("value", "text"), [(1_234_567.5, "1234567.5"), (0.1, "0.1"), (3.0, "3"), (1_048_576, "1048576"), (None, "null")]
)
def test_a_value_is_written_with_all_its_digits(value: float | None, text: str) -> None:
    assert conditions.written(value) == text


def test_a_command_has_flags_where_its_template_says() -> None:
    flags: Mapping[str, Any] = {"-np": 4, "fa": "on", "cost": 0.5, "off": False, "none": None, "yes": True}
    assert command_words("run 'a b' -p {port} {flags} x={cost}", flags, 81) == [
        "run", "a b", "-p", "81", "-np", "4", "--fa", "on", "--yes", "x=0.5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "flags", "holds"),
    [
        ("ub > b", {"ub": 512, "b": 256}, True),
        ("ub > b", {"ub": 256, "b": 256}, False),
        ("ub >= 256", {"ub": 256}, True),
        ("kind == none", {"kind": "none"}, True),
        ("kind != none", {"kind": "none"}, False),
        ("on == true and ub < 9", {"on": True, "ub": 8}, True),
        ("on == true and ub < 9", {"on": True, "ub": 9}, False),
        ("on == null", {"on": None}, True),
        ("on < 3", {"on": None}, False),
        ("ub == 256.0", {"ub": 256}, True),
        ("ub == 1048577", {"ub": 1_048_576}, False),
        ("ub == 1048576", {"ub": "1048576"}, True),
    ],
)
def test_conditions(text: str, flags: dict[str, Any], holds: bool) -> None:
    assert conditions.parse(text, [*flags, "b", "ub"]).holds(flags) is holds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flag": {}}, "flag is not a key of this file: did you mean flags?"),
        ({"colour": {}}, "colour is not a key of this file: docs/compare.md lists them"),
        ({"server": {"port": 1}}, "server.port is not a key"),
        ({"server": {"command": ""}}, "server.command is empty: give the command that starts the server"),
        ({"server": {"command": "serve"}}, "no place for seqs, tokens: write {flags}, or {seqs}"),
        ({"server": {"command": "serve {flags} {model}"}}, "{model} is not a flag of this file"),
        ({"server": {"command": "serve '"}}, "server.command: no closing quotation"),
        ({"server": {"command": "serve '", "ports": [80]}}, "server.command: no closing quotation"),
        ({"server": {"command": "serve {flags}"}}, "server.command has no {port}: write {port}, or give server.ports"),
        ({"server": {"url": "http://127.0.0.1:8000"}}, "server.url has no {port}"),
        ({"server": {"url": "http://127.0.0.1:80", "ports": [80, 81]}}, "server.url has no {port}"),
        ({"server": {"command": "serve {flags}", "ports": [80, 81]}}, "server.command has no {port}"),
        ({"server": {"url": "localhost:{port}"}}, "does not begin with http:// or https://"),
        ({"server": {"ready": ""}}, "server.ready is empty"),
        ({"server": {"clear_cache": ""}}, "server.clear_cache is empty"),
        ({"server": {"clear_cache": "reset 'all"}}, "server.clear_cache: no closing quotation"),
        ({"server": {"environment": {"A": [1]}}}, "server.environment.A: give a word or a number"),
        ({"server": {"environment": {"A=B": 1}}}, "server.environment: 'A=B' is not the name of a variable"),
        ({"server": {"environment": {"": 1}}}, "server.environment: '' is not the name of a variable"),
        ({"server": {"environment": {"A": "x\0"}}}, "server.environment.A has a NUL: leave it out"),
        ({"flags": {"seqs": 3}}, "flags.seqs: give a list, for example [1, 2]"),
        ({"flags": [1, 2]}, "flags: give keys with their values"),
        ({"visit": [1]}, "visit: give a word or a number"),
        ({"gpus": 0}, "gpus: 0 are too few"),
        ({"server": {"ports": [-1]}}, "server.ports: give ports from 1 to 65535"),
        ({"server": {"ports": [65536]}}, "server.ports: give ports from 1 to 65535"),
        ({"server": {"ports": [8000, 65536]}}, "server.ports: give ports from 1 to 65535"),
        ({"server": {"ports": []}}, "server.ports: give ports from 1 to 65535"),
        ({"server": {"together": True}}, "need two server.ports or more"),
        ({"server": {"ports": [80, 0, 81, 0, 80]}}, "server.ports: 80 is there twice: each server needs its own"),
        (
            {"gpus": "seqs", "flags": {"seqs": [2.0, 2.5]}},
            "gpus: seqs=2.5 is no number of GPUs: give whole numbers from 1",
        ),
        ({"gpus": "seqs", "flags": {"seqs": [None, 0]}}, "gpus: seqs=0 is no number of GPUs"),
        ({"server": {"start_within": "soon"}}, "server.start_within: 'soon' is not a time"),
        ({"flags": {"seqs": [1]}}, "there is only one combination"),
        ({"flags": {"seqs": []}}, "flags.seqs has no value"),
        ({"exclude": ["seqs ~ 1"]}, "exclude: 'seqs ~ 1' is not a condition"),
        ({"exclude": ["sequences > 1"]}, "'sequences' is not a flag of this file"),
        ({"exclude": ["seqs == 64"]}, "the default is an excluded combination"),
        ({"exclude": ["seqs == 1", "seqs == 64"]}, "the default is an excluded combination"),
        ({"int": 3}, "int is not a key of this file"),
        ({"needs": {"x": "seqs > 1"}}, "needs.x: not a flag"),
        ({"flags": {"seqs": [*range(200)]}}, "these are 200 combinations"),
        ({"gpus": "tp"}, "gpus: 'tp' is not a flag"),
        (
            {"flags": {"port": [1, 2]}},
            "flags: {port} is something else in server.command: write the flag with its dashes, --port",
        ),
        (
            {"server": {"command": "serve {port} {seqs} {flags}"}, "flags": {"seqs": [1, None]}},
            "server.command: {seqs} has no value with the default: write {flags} in its place",
        ),
        (
            {
                "server": {"command": "s {port} {drafts} {flags}"},
                "flags": {"seqs": [1, 2], "drafts": [3]},
                "needs": {"drafts": "seqs > 1"},
            },
            "server.command: {drafts} has no value with seqs=1: write {flags}",
        ),
        ({"gpu_hour_cost": float("inf")}, "gpu_hour_cost: input should be a finite number"),
        ({"budget": float("inf")}, "budget: give a time that ends"),
        ({"goal": "speed"}, "goal: 'speed' is not known: it is one of 'tokens_per_s'"),
        ({"goal": "held_load"}, "held_load needs objectives"),
        ({"goal": "dollars_per_million_tokens"}, "needs gpu_hour_cost"),
        ({"search": {"start": 3}}, "search is for goal: held_load"),
        ({"goal": "held_load", "objectives": ["ttft:p99<1s"], "search": {"begin": 3}}, "search.begin is not known"),
        ({"goal": "held_load", "objectives": ["ttft:p99<1s"], "search": {"precision": "x"}}, "search: --precision"),
        ({"goal": "held_load", "objectives": ["ttft:p99<1s"], "search": {"start": -3}}, "search: --start"),
        ({"loads": "users=3", "objectives": ["ttft:p99"]}, "load or objectives: "),
        ({"objectives": ["ttft:p99"]}, "load or objectives: "),
        ({"load": {"url": "http://h"}}, "load.url: it is the server's"),
        ({"load": {"input_tokens": "many"}}, "load or objectives: "),
        ({"loads": "concurrency=x"}, "loads: "),
        ({"visit": 0}, "visit: give more than 0 s"),
        ({"budget": "5s"}, "budget: 5 s is too short for a race"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        made(**changes)
    assert said in str(refused.value)


def test_a_search_with_an_unknown_key_is_not_planned() -> None:
    with pytest.raises(UsageError) as refused:
        made(goal="held_load", objectives=["ttft:p99<1s"], search={"begin": 3, "precision": "x"})
    assert [problem.partition(" ")[0] for problem in refused.value.problems] == ["search.begin"]


def test_an_only_port_may_be_written_out() -> None:
    spec = made(server={"command": "serve --port 8000 {flags}", "url": "http://127.0.0.1:8000", "ports": [8000]})
    assert spec.server.usual_port == 8000


def test_a_problem_is_said_once() -> None:
    for changes in (
        {"server": {"environment": {"A": [1]}}},
        {"visit": [1]},
        {"server": {"command": "serve {port} '{flags}"}},
        {"server": {"command": " "}},
    ):
        with pytest.raises(UsageError) as refused:
            made(**changes)
        assert len(refused.value.problems) == 1


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        made(goal="held_load", exclude=["x"], load={"rate": 3}, server={"ports": [-1]}, loads="users=3")
    assert len(refused.value.problems) == 5


@pytest.mark.parametrize(
    "form",
    [
        {"flag": {"seqs": [1]}, "flags": {}, "server": {"command": "serve {port} {seqs}"}},
        {"flags": {"seqs": 3}, "server": {"command": "serve {port} {seqs}"}, "needs": {"seqs": "seqs > 1"}},
        {"default": [1], "server": {"command": "serve {port} {seqs} {tokens} {model}"}},
        {"exclude": 3, "flags": {"seqs": [*range(200)]}},
        {"goal": "speed", "search": {"start": 3}},
        {"goal": "held_load", "objectives": "ttft:p99<1s"},
        {"goal": "dollars_per_million_tokens", "gpu_hour_cost": -1},
        {"load": [1], "objectives": ["job:p90<60s"]},
        {"server": {"command": 3}},
        {"server": {"ports": "x", "port": 3}},
        {"server": 3},
        {1: 2},
    ],
)
def test_a_key_of_a_wrong_form_neither_hides_a_wrong_value_nor_makes_one(form: dict[Any, Any]) -> None:
    content = copy.deepcopy(BASE) | form | {"budget": "5s"}
    if isinstance(server := form.get("server", {}), dict):
        content["server"] = BASE["server"] | server
    with pytest.raises(UsageError) as refused:
        spec_of(content, lambda settings: resolve(dict(settings)))
    *of_form, of_budget = refused.value.problems
    assert len(of_form) == (2 if server == {"ports": "x", "port": 3} else 1), of_form
    assert "5 s is too short" in of_budget


def test_a_race_that_goes_on_may_have_another_budget_and_nothing_else() -> None:
    assert made(budget="2h").sha256 == made().sha256
    assert made(visit="9s").sha256 != made().sha256


def test_values_of_the_environment_are_not_written() -> None:
    spec = made(server={"environment": {"HF_TOKEN": "hf_secret", "THREADS": 2}})
    assert spec.server.environment == {"HF_TOKEN": "hf_secret", "THREADS": "2"}
    assert "hf_secret" not in str(spec.written)
    load = {"api_key": "sk-secret", "header": ["X-A: sk-secret"], "extra_body": {"hf_token": "sk-secret"}, "seed": 5}
    spec = made(load=load)
    assert spec.load == load
    assert "sk-secret" not in str(spec.written)
    assert spec.written["load"]["seed"] == 5  # type: ignore[index]


def test_the_highest_port_is_one() -> None:
    assert made(server={"ports": [65535, 1]}).server.ports == (65535, 1)


def test_a_race_has_two_to_a_hundred_arms() -> None:
    assert len(made(flags={"seqs": [*range(100)]}).arms) == 100
    with pytest.raises(UsageError, match="these are 101 combinations"):
        made(flags={"seqs": [*range(101)]})
    assert len(made(flags={"seqs": [1, 2]}).arms) == 2


def test_the_budget_of_the_command_line_counts_more_than_that_of_the_file() -> None:
    def budget_of(budget: str | None) -> float:
        return spec_of({**BASE, "budget": "20s"}, lambda settings: resolve(dict(settings)), budget=budget).budget_s

    assert [budget_of(budget) for budget in (None, "2m")] == [20, 120]
    with pytest.raises(UsageError, match=r"budget: 19\.9 s is too short for a race: give at least 20 s"):
        budget_of("19.9s")
    with pytest.raises(UsageError, match="--budget: 'soon' is not a time"):
        budget_of("soon")


def test_a_file_that_is_no_yaml_is_named_with_the_place_where_it_stops_being_it(tmp_path: Path) -> None:
    path = tmp_path / "race.yaml"
    path.write_text("flags:\n  a: [1\nb: 2\n")
    with pytest.raises(UsageError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}, line 3, column 2: not YAML: ")
    assert "unicode string" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "family", "host"),
    [
        ("http://h:1/v1", socket.AF_INET, "h"),
        ("http://[::1]:1", socket.AF_INET6, "::1"),
        ("http://:1", socket.AF_INET, "127.0.0.1"),
    ],
)
def test_a_port_is_taken_if_something_answers_at_the_host_of_the_url(
    url: str, family: int, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class Probe(nullcontext[Any]):
        def __init__(self, family: int) -> None:
            super().__init__(self)
            asked.append(family)

        def settimeout(self, seconds: float) -> None:
            assert seconds == 1

        def connect_ex(self, place: tuple[str, int]) -> int:
            asked.append(place)
            return 0 if place[1] == 9 else 111

    monkeypatch.setattr(socket, "socket", Probe)
    refuse_taken(url, 8)
    with pytest.raises(UsageError, match="port 9 is taken: another server answers there"):
        refuse_taken(url, 9)
    assert asked == [family, (host, 8), family, (host, 9)]
