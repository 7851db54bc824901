"""Configurations in files: run.yaml of an earlier run, and the user's own settings."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.config import RunConfig, read_yaml, resolve
from bench.errors import UsageError

URL = "http://127.0.0.1:8000"
SECRET = "sk-very-secret-1234"


def resolved(**flags: Any) -> RunConfig:
    return resolve({"url": URL, **flags})


def stored(tmp_path: Path, config: RunConfig) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"config": config.public(), "manifest": {"run_id": "a"}}))
    return path


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"concurrency": "7", "ramp_up": "3s", "warmup": "5s", "duration": "60"},
        {"rate": "5", "max_concurrency": "9", "drop_late": True, "requests": "50"},
        {"rate": "5", "burstiness": "0.5", "slo": ["ttft:p99<500ms"], "max_errors": "5%"},
        {"mode": "throughput", "requests": "50", "input_tokens": "uniform:10..20", "ignore_eos": True},
        {"url": f"{URL}/v1/completions", "stream": False, "extra_body": '{"top_p": 0.5}', "seed": "0"},
        {"url": [URL, "http://127.0.0.1:8001=3"], "rate": "5"},
        {"limits": {"errors": {"suspect": 0.5}}},
    ],
)
def test_a_stored_run_yaml_gives_the_same_configuration_again(tmp_path: Path, flags: dict[str, Any]) -> None:
    config = resolve({"url": URL, **flags})
    assert resolve({}, read_yaml(stored(tmp_path, config)), "run.yaml") == config


def test_a_ramp_that_was_stored_as_a_number_is_read() -> None:
    config = RunConfig.stored({"url": "http://127.0.0.1:1", "mode": "concurrency", "concurrency": 2, "ramp": 1.5})
    assert (config.ramp, config.ramp_up) == (None, 1.5)


def test_a_stored_data_set_run_keeps_the_lengths_of_its_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    for flags in ({}, {"output_tokens": "128"}):
        config = resolve({"url": URL, "dataset": str(rows), **flags})
        assert resolve({}, read_yaml(stored(tmp_path, config)), "run.yaml") == config


def test_secrets_and_the_place_of_a_stored_run_are_not_taken_over(tmp_path: Path) -> None:
    config = resolved(api_key=SECRET, header=["X-Key: abcd"], out="runs/a")
    again = resolve({}, read_yaml(stored(tmp_path, config)), "run.yaml")
    assert (again.api_key, again.header, again.out) == (None, (), None)


def test_a_url_that_was_stored_without_its_secrets_has_to_be_given_again(tmp_path: Path) -> None:
    path = stored(tmp_path, resolve({"url": f"http://user:{SECRET}@host"}))
    with pytest.raises(UsageError, match="stored without its secrets"):
        resolve({}, read_yaml(path), "run.yaml")
    assert resolve({"url": URL}, read_yaml(path), "run.yaml").url == URL


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("- 1\n- 2\n", "must hold keys with values"),
        ("just words", "must hold keys"),
        (
            "url: a\n  rate: 5\n",
            "line 2, column 7: not YAML: mapping values are not allowed here (a line that is indented too far",
        ),
        ("a: [", "load.yaml, line 1, column 5: not YAML: expected the node content, but found '<stream end>'"),
        ("url: [http://a\nx: 5\n", "load.yaml, line 2, column 2: not YAML: expected ',' or ']', but got ':'"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "load.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        read_yaml(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml: No such file"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_an_empty_file_and_keys_written_as_flags_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("")
    assert read_yaml(path) == {}
    path.write_text("max-concurrency: 5\nrate: 2\n")
    assert resolve({"url": URL}, read_yaml(path), "load.yaml").max_concurrency == 5


def test_a_dash_reads_the_settings_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"url: {URL}\nconcurrency: 3\napi_key: {SECRET}\n"))
    config = resolve({}, read_yaml(Path("-")), "-")
    assert (config.concurrency, config.api_key and config.api_key.get_secret_value()) == (3, SECRET)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ramp_up", "x"), ("ramp", "x"), ("warmup", ""), ("steps", "5:x"), ("cancel", "x")],
)
def test_a_stored_text_that_cannot_be_parsed_is_refused_when_it_is_read(name: str, value: object) -> None:
    config = resolved(concurrency="2").public()
    with pytest.raises(UsageError, match=r"the configuration in run\.yaml is damaged: "):
        RunConfig.stored(config | {name: value})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"repeat": 0.3}, {"repeated_text": 0.3}),
        ({"priority": "normal"}, {"cpu_priority": "normal"}),
        ({"ramp": "30s"}, {"ramp_up": 30.0}),
        ({"ramp": "1..5:10s"}, {"ramp": "1..5:10s"}),
        ({"mix": {"classes": [{"name": "a", "share": 1, "repeat": 0.5}]}},
         {"mix": {"classes": [{"name": "a", "share": 1, "repeated_text": 0.5}]}}),
    ],
)  # fmt: skip
def test_old_names_of_settings_are_read_in_files_and_stored_runs(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    expected = resolve({"url": URL, **new})
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump({"url": URL, **old}))
    assert resolve({}, read_yaml(path), "old.yaml") == expected
    (name,) = new
    kept = {key: value for key, value in expected.public().items() if key not in (name, "ramp", "ramp_up")}
    before = {"ramp": "0", **kept, **old}
    if name == "mix":
        before["mix"] = {**expected.public()["mix"], **old["mix"]}
    assert getattr(RunConfig.stored(before), name) == getattr(expected, name)
    path.write_text(yaml.safe_dump({"manifest": {}, "config": before}))
    assert getattr(resolve({}, read_yaml(path), "run.yaml"), name) == getattr(expected, name)
