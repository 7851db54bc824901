"""The form of a task comes from the declaration of the settings, and problems stand beside their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import Settings
from bench.console import settings_form
from bench.console.data_files import DataFiles
from bench.console.errors import ConsoleError, Refused
from bench.console.load_templates import TEMPLATES

GOOD = {"url": "http://127.0.0.1:8000"}


def refused(settings: dict[str, object], tmp_path: Path) -> dict[str | None, str]:
    with pytest.raises(Refused) as raised:
        settings_form.check({**GOOD, **settings}, {}, DataFiles(tmp_path))
    return dict(raised.value.problems)


def test_every_setting_has_a_field() -> None:
    names = {field.name for field in settings_form.fields()}
    assert names == Settings.model_fields.keys() - set(settings_form.LEFT_OUT)
    by_name = {field.name: field for field in settings_form.fields()}
    assert by_name["endpoint"].choices == ("chat", "completions")
    assert by_name["history"].choices == ("real", "planned")
    assert (by_name["stream"].kind, by_name["stream"].default) == ("switch", "on")
    assert by_name["slo"].kind == "lines"
    assert (by_name["dataset"].kind, by_name["input_tokens"].default) == ("text", "1024")


def test_what_is_typed_is_given_and_what_is_empty_is_not() -> None:
    form = {"concurrency": " 8 ", "rate": "", "slo": "ttft:p99<1s\n\n e2el:p90<2s", "stream": "on", "ignore_eos": "on"}
    assert settings_form.typed(form) == {
        "concurrency": "8",
        "slo": ["ttft:p99<1s", "e2el:p90<2s"],
        "ignore_eos": True,
    }
    assert settings_form.typed({})["stream"] is False


def test_every_problem_stands_beside_its_field(tmp_path: Path) -> None:
    found = refused({"concurrency": "many", "input_tokens": "-3", "duration": "soon", "out": "/x"}, tmp_path)
    assert {"concurrency", "input_tokens", "duration", "out"} <= found.keys()
    assert "whole number" in found["concurrency"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("dataset", "/etc/passwd"), ("dataset", "../../x.jsonl"), ("tools", "/etc/passwd"), ("ca_file", "/etc/ssl/x.pem"),
     ("tokenizer", "/root"), ("tokenizer", "../models"), ("url", "http://user:pw@h:1"), ("url", "http://h:1?key=1"),
     ("extra_body", '{"api_key": "sk-1"}'), ("api_key", "sk-1"), ("header", ["X: y"])],
)  # fmt: skip
def test_files_of_the_machine_and_secrets_are_refused(setting: str, value: object, tmp_path: Path) -> None:
    assert setting in refused({setting: value}, tmp_path)


def test_an_uploaded_file_and_a_recipe_are_data(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    settings = settings_form.check({**GOOD, "dataset": "mine.jsonl", "output_tokens": "4"}, {}, files)
    assert settings["dataset"] == str(tmp_path / "mine.jsonl")
    assert settings_form.check({**GOOD, "dataset": "azure-2023-code"}, {}, files)["dataset"] == "azure-2023-code"


@pytest.mark.parametrize("key", TEMPLATES)
def test_every_template_can_be_started(key: str, tmp_path: Path) -> None:
    settings_form.check({**GOOD, **TEMPLATES[key].settings}, {}, DataFiles(tmp_path))


def test_secrets_have_fields_of_their_own() -> None:
    assert settings_form.secrets_of(" sk-1 ", "X-Tenant: blue\n") == {"api_key": "sk-1", "header": ["X-Tenant: blue"]}
    assert settings_form.secrets_of("", None) == {}
    with pytest.raises(ConsoleError, match="NAME: VALUE"):
        settings_form.secrets_of(None, "nothing")
