"""No task can send a local file of its choice: bodies, templates and curl commands may name only uploaded files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.config import Settings
from bench.console import settings_form
from bench.console.errors import Refused
from bench.console.service import Console
from bench.console.target_keys import KeyVariables
from promptset.loaders.curl import request_of_command
from promptset.whole_file import DATA_FOLDER, UnreadableFile, read_named

HTTP = {"url": "http://127.0.0.1:9", "endpoint": "http", "requests": 1}


@pytest.mark.parametrize("name", ["body", "body_template"])
def test_a_body_behind_at_is_an_uploaded_file(name: str, console: Console, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for value in (f"@{secret}", "@/etc/hostname", "@../console.sqlite", "@missing.txt"):
        with pytest.raises(Refused, match="there is no uploaded file") as refused:
            settings_form.check({**HTTP, name: value}, {}, console.files)
        assert [field for field, _ in refused.value.problems] == [name]
    console.files.add("mine.txt", b"hello")
    checked = settings_form.check({**HTTP, name: "@mine.txt"}, {}, console.files)
    assert checked[name] == f"@{console.files.path('mine.txt')}"
    assert settings_form.check({**HTTP, name: "plain @ text"}, {}, console.files)[name] == "plain @ text"


def test_a_file_that_defines_an_api_is_an_uploaded_one(console: Console, tmp_path: Path) -> None:
    definition = b'{"path": "/a", "body": {"q": "{{ prompt }}"}, "reply": "chunks"}'
    (tmp_path / "mine.yaml").write_bytes(definition)
    given = {"url": "http://127.0.0.1:9", "requests": 1}
    with pytest.raises(Refused, match="there is no uploaded file") as refused:
        settings_form.check({**given, "endpoint": str(tmp_path / "mine.yaml")}, {}, console.files)
    assert [field for field, _ in refused.value.problems] == ["endpoint"]
    console.files.add("mine.yaml", definition)
    checked = settings_form.check({**given, "endpoint": "mine.yaml"}, {}, console.files)
    assert checked["endpoint"] == str(console.files.path("mine.yaml"))
    assert settings_form.check({**given, "endpoint": "ollama"}, {}, console.files)["endpoint"] == "ollama"


def test_a_row_of_data_names_files_of_the_data_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "body").write_text("mine")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "secret")
    command = "curl http://h/x --data-binary @{}"
    assert request_of_command(command.format(tmp_path / "secret"))[3] == b"secret"
    environment = KeyVariables(environment={}, data=tmp_path / "data").environment("http://h", None, None)
    monkeypatch.setenv(DATA_FOLDER, environment[DATA_FOLDER])
    assert request_of_command(command.format(tmp_path / "data" / "body"))[3] == b"mine"
    for outside in ("secret", "data/link", "data/../secret"):
        with pytest.raises(ValueError, match="names no file of this machine"):
            request_of_command(command.format(tmp_path / outside))
        with pytest.raises(UnreadableFile):
            read_named(str(tmp_path / outside))


def test_probes_and_the_environment_of_a_cluster_are_uploaded_files_or_none(console: Console, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"question": "mine", "answer": "x"}\n')
    given = {"url": "http://127.0.0.1:9", "requests": 1, "check_answers": "0.5"}
    for value in (
        str(secret),
        f"canary=2,{secret}=1",
        "../secret.jsonl",
        "missing.jsonl",
        f"{tmp_path}/secret.jsonl=1",
    ):
        with pytest.raises(Refused, match="there is no uploaded file") as refused:
            settings_form.check({**given, "probes": value}, {}, console.files)
        assert [field for field, _ in refused.value.problems] == ["probes"]
    console.files.add("mine.jsonl", secret.read_bytes())
    checked = settings_form.check({**given, "probes": "canary=2,mine.jsonl=1"}, {}, console.files)
    assert checked["probes"] == f"canary=2,{console.files.path('mine.jsonl')}=1"
    for value in ("20", "canary=2,arithmetic=1", "openai/gsm8k=5", "retrieve=2:tokens=60"):
        assert settings_form.check({**given, "probes": value}, {}, console.files)["probes"] == value
    cluster = {"url": "http://127.0.0.1:9", "requests": 1, "cluster": "ray://127.0.0.1:1"}
    with pytest.raises(Refused, match="there is no uploaded file"):
        settings_form.check({**cluster, "runtime_env": str(secret)}, {}, console.files)
    for word in ("code", "none"):
        assert settings_form.check({**cluster, "runtime_env": word}, {}, console.files)["runtime_env"] == word


def test_every_setting_that_may_name_a_file_is_known_to_the_form() -> None:
    known = {
        *settings_form.FILES,
        *settings_form.FILES_BEHIND_AT,
        *settings_form.LEFT_OUT,
        "mix",
        "endpoint",
        "probes",
        "tokenizer",
    }
    named = {
        name
        for name, declared in Settings.model_fields.items()
        if isinstance(extra := declared.json_schema_extra, dict)
        and re.search(r"FILE|DIR|PATH", str(extra.get("metavar")))
    }
    assert named - known == set()
