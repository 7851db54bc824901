"""What the console refuses in the settings of a task, all at once, and what it lets through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.console import settings_form
from bench.console.data_files import DataFiles
from bench.console.errors import Refused
from bench.console.settings_form import secrets_of, typed

GOOD = {"url": "http://127.0.0.1:9", "requests": 1}


def problems_of(settings: dict[str, Any], tmp_path: Path, kind: str = "run") -> list[tuple[str | None, str]]:
    with pytest.raises(Refused) as refused:
        settings_form.check(settings, {}, DataFiles(tmp_path), kind)
    return list(refused.value.problems)


def test_every_kind_of_problem_is_told_at_once(tmp_path: Path) -> None:
    found = problems_of(
        {
            "out": "x", "api_key": "sk-1", "url": ["@hosts", "http://u:p@h:1"], "server_metrics": ["http://h:2/?key=1"],
            "extra_body": {"api_key": "x"}, "dataset": "none.jsonl", "tools": "none.json", "body": "@none.txt",
            "probes": "none.jsonl=1", "mix": "none.yaml", "tokenizer": "../x", "concurrency": "many",
        },
        tmp_path,
    )  # fmt: skip
    assert [sentence for field, sentence in found if field in ("out", "api_key")] == [
        "out is chosen by the console", "api_key is a secret: it has a field of its own",
    ]  # fmt: skip
    gone = "there is no uploaded file 'none.{}': upload it under Data first"
    assert dict(found) | {"concurrency": ""} == {
        "out": "out is chosen by the console",
        "api_key": "api_key is a secret: it has a field of its own",
        "url": "a user and a password in the URL would be stored: type them as a header (Authorization: Basic ...)",
        "server_metrics": "values in the URL's query may be secret and would be stored: leave the query out",
        "extra_body": "fields with names of secrets cannot be stored: use the key or a header",
        "dataset": f"{gone.format('jsonl')}, or name a recipe",
        "tools": gone.format("json"),
        "body": gone.format("txt"),
        "probes": gone.format("jsonl"),
        "mix": gone.format("yaml"),
        "tokenizer": "name a model of the hub (Qwen/Qwen3-8B), `server`, or the URL of a server",
        "concurrency": "",
    }
    assert ("url", "type the addresses, one on a line: a file of them would be one of this machine") in found


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("server", True), ("http://h:1", True), ("https://h:1", True), ("Qwen/Qwen3-8B", True), ("gpt2", True),
        ("a/b/c", False), ("a..b/c", False), ("../a", False), ("/etc", False), ("ftp://h", False), ("-a/b", False),
        ("", False),
    ],
)  # fmt: skip
def test_a_tokenizer_is_the_servers_a_url_or_a_name_of_the_hub(
    name: str, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_form._is_tokenizer_name(name) is good


def test_a_name_of_the_hub_that_is_a_folder_here_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab" / "model").mkdir(parents=True)
    assert not settings_form._is_tokenizer_name("lab/model")
    assert settings_form._is_tokenizer_name("lab/other")


@pytest.mark.parametrize(
    ("value", "has"),
    [
        ('{"api_key": 1}', True), ('{"a": {"token": 1}}', True), ('{"a": 1, "password": 2}', True), ('{"a": 1}', False),
        ('"api_key"', False), ("", False), ({"a": 1, "api_key": 2}, True), ({"a": {"b": 1}, "c": [{"secret": 1}]}, True),
        ({"a": 1}, False), ([1, {"api_key": 1}], True), ([{"a": 1}], False), ([], False), (5, False), (None, False),
    ],
)  # fmt: skip
def test_names_of_secrets_are_found_at_any_depth(value: object, has: bool) -> None:
    assert settings_form._names_secrets(value) is has


@pytest.mark.parametrize(
    ("problem", "field"),
    [
        ("--input-tokens: must be a number", "input_tokens"),
        ("--no-stream goes with --rate", "stream"),
        ("--budget: too short", "budget"),
        ("--loads is missing", "loads"),
        ("--nonsense: is not known", None),
        ("the file is empty", None),
    ],
)
def test_a_problem_stands_beside_the_first_setting_that_it_names(problem: str, field: str | None) -> None:
    assert settings_form._beside(problem, {"budget"}) == (field, problem)


def test_secrets_are_typed_each_into_its_field() -> None:
    assert secrets_of(" ", " \n ") == {}
    assert secrets_of(None, " A: b \n\nC: d") == {"header": ["A: b", "C: d"]}
    assert secrets_of("sk-1", None) == {"api_key": "sk-1"}
    for headers in ("A: b\nC", "C\nA: b", "C"):
        with pytest.raises(Refused) as refused:
            secrets_of(None, headers)
        assert refused.value.problems == (("header", "write each header as NAME: VALUE, one on a line"),)


@pytest.mark.parametrize(
    ("value", "on"),
    [("on", True), ("true", True), (True, True), ("", False), ("off", False), ("False", False), (None, False)],
)
def test_a_switch_is_on_if_it_is_checked(value: object, on: bool) -> None:
    assert typed({"ignore_eos": value, "stream": value}) == {
        **({"ignore_eos": True} if on else {}), **({} if on else {"stream": False}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "told"), [(0, True), (1, False)]
)  # The limit is that of a file whose rows are all read at once.
def test_rows_of_a_file_up_to_the_limit_are_checked(
    size: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, content = DataFiles(tmp_path), b'{"prompt": "a"}\n[1]\n'
    files.add("mine.jsonl", content)
    assert settings_form._MOST_CHECKED_BYTES == 4_194_304
    monkeypatch.setattr(settings_form, "_MOST_CHECKED_BYTES", len(content) - size)
    settings = {**GOOD, "dataset": "mine.jsonl"}
    if told:
        with pytest.raises(Refused) as refused:
            settings_form.check(settings, {}, files)
        again = "correct the file, or skip such rows with --bad-rows skip"
        assert refused.value.problems == (("dataset", f"mine.jsonl, line 2: not a JSON object; {again}"),)
    else:
        assert settings_form.check(settings, {}, files)["dataset"] == str(tmp_path / "mine.jsonl")


def test_a_file_that_is_no_data_names_a_recipe_only_as_data(tmp_path: Path) -> None:
    assert (
        settings_form.check({**GOOD, "dataset": "azure-2023-code"}, {}, DataFiles(tmp_path))["dataset"]
        == "azure-2023-code"
    )
    for name in ("tools", "ca_file"):
        for value in ("azure-2023-code", "code", "none"):
            assert name in dict(problems_of({**GOOD, name: value}, tmp_path))
