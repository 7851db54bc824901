"""Keys and headers from users: values that cannot be sent are refused and never shown, and trailing white space is
removed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.commands import options
from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.load.components import target_of, transport_of
from bench.transport import TRANSPORTS
from promptset.errors import SpecError
from promptset.tokens import load_tokenizer

URL = "http://127.0.0.1:8000"
SECRET = "sk-s3cret"
UNSENDABLE = [
    pytest.param(f"{SECRET}\r\nX-Injected: 1", id="a header more"),
    pytest.param(f"{SECRET}\nb", id="line feed"),
    pytest.param(f"{SECRET}\x7f", id="delete"),
    pytest.param(f"{SECRET}\u4e2d", id="beyond latin-1"),
    pytest.param(f"{SECRET}\u00fc", id="beyond ASCII, which httpx writes"),
]


def from_flags(*words: str) -> RunConfig:
    parser = options.run_parser("run", "", "")
    return options.resolve_flags(*options.parse_flags(parser, ["--url", URL, *words]))


@pytest.mark.parametrize("text", UNSENDABLE)
@pytest.mark.parametrize("place", ["--api-key", "--header", "file", "OPENAI_API_KEY"])
def test_what_no_header_can_carry_is_refused_by_its_place_and_not_shown(
    text: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"--api-key": ["--api-key", text], "--header": ["--header", f"X-Key: {text}"]}.get(place, [])
    if place == "OPENAI_API_KEY":
        monkeypatch.setenv(place, text)
    of_file: dict[str, object] = {"url": URL, "api_key": text}
    give = partial(resolve, {}, of_file, "load.yaml") if place == "file" else partial(from_flags, *words)
    with pytest.raises(UsageError, match="has characters that a header cannot carry") as e:
        give()
    (problem,) = e.value.problems
    assert problem.startswith("load.yaml: api_key:" if place == "file" else f"{place}: ")
    assert SECRET not in problem


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\n\n\t"])
def test_white_space_behind_a_key_or_a_header_is_left_out_with_a_note(
    end: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = from_flags("--api-key", SECRET + end, "--header", f"X-Tenant: a{end}")
    assert {("authorization", f"Bearer {SECRET}"), ("X-Tenant", "a")} <= {*target_of(config).headers}
    said = capsys.readouterr().err
    assert "note: --api-key: white space after the key" in said
    assert "note: --header: white space after the value of X-Tenant was removed" in said
    assert SECRET not in said
    monkeypatch.setenv("OPENAI_API_KEY", SECRET + end)
    assert ("authorization", f"Bearer {SECRET}") in target_of(from_flags()).headers
    assert "note: OPENAI_API_KEY: white space after the key" in capsys.readouterr().err


def test_headers_of_a_run_are_secrets_and_those_that_its_endpoint_needs_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = from_flags("--endpoint", "messages", "--header", "X-Tenant: a-customer")
    monkeypatch.setitem(TRANSPORTS, config.transport, lambda target, reading, clock: reading)
    unused: Any = None
    reading: Any = transport_of(config, None, unused)
    assert reading.redact("version 2023-06-01 of a-customer") == "version 2023-06-01 of ***"


def test_a_note_names_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text('api_key: "k\\n"\nheader: ["A: b\\n"]\n')
    from_flags("--config", str(file))
    said = capsys.readouterr().err
    assert f"note: {file}: api_key: white space" in said
    assert f"note: {file}: header: white space after the value of A" in said


def test_keys_and_headers_that_are_as_they_are_sent_have_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    from_flags("--api-key", SECRET, "--header", "X-Tenant:   a")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("key", ["", " \n"])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="--api-key: the key is empty: give one, or leave it out"):
        from_flags("--api-key", key)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--url", "http://127.0.0.1:1", "--token", f"{SECRET}\nb"),
            "--token: the key has characters that a header cannot",
        ),
        (
            ("--url", "http://127.0.0.1:1", "--token", f"{SECRET}\u00fc"),
            "--token: the key has characters that a header cannot",
        ),
        (("--url", "http://h\u00e9..llo:1", "--token", "t"), "--url: 'http://h\u00e9..llo:1': not a valid host name"),
        (("--url", "http://[::1", "--token", "t"), "--url: 'http://[::1' is not a URL"),
        (("--url", "nonsense", "--token", "t"), "--url: 'nonsense' does not begin with http://"),
    ],
)
def test_tasks_refuses_what_cannot_be_sent_to_a_console(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tasks", "ls", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}")
    assert SECRET not in said


def test_the_console_refuses_a_host_whose_name_cannot_be_encoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--no-browser",
        "--port",
        "0",
        "--host",
        "h\u00e9..",
        "--token",
        "choose-a-long-one" * 30,
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert cli.main(["console", *words]) == 2
    assert "error: --host h\u00e9..: not a valid host name" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://h\u00e9..llo:1", "http://[::1"])
def test_a_tokenizer_at_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match=r"does not answer|is not a URL"):
        load_tokenizer(url)


def test_the_key_of_a_tokenizer_is_held_to_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"the API key of http://127\.0\.0\.1:1: the key has characters that a header"):
        load_tokenizer("http://127.0.0.1:1", api_key=f"{SECRET}\r\nX: 1")
    with pytest.raises(SpecError) as refused:
        load_tokenizer(f"http://me:{SECRET}@127.0.0.1:1", api_key="a\nb")
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\nb")
    with pytest.raises(SpecError, match=r"the API key of http://127.0.0.1:1 \(OPENAI_API_KEY\)"):
        load_tokenizer("http://127.0.0.1:1")
