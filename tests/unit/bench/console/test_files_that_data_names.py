"""No task sends a file of this machine: a body, a template and a curl command name uploaded files, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

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
