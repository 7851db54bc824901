"""A runs folder has one console. A second one points to the first, and leaves its address file alone."""

from __future__ import annotations

import socket
import stat
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cli
from bench.console.address import door, forget, keep, read, urls_of
from bench.errors import Exit
from bench.run_files.run_directory import held_alone

TOKEN = "a token/with+signs&more"


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """The command of a second console. Its port is taken, so it ends even if it takes itself for the first one."""
    (tmp_path / ".console").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken, held_alone(tmp_path / ".console") as ours:
        assert ours
        yield ["console", "--runs", str(tmp_path), "--port", str(taken.getsockname()[1])]


def test_a_second_console_opens_the_page_of_the_first(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    base, private = urls_of("127.0.0.1", 8600, TOKEN)
    keep(tmp_path, private)
    assert cli.main(words) == Exit.GOOD
    assert f"already runs at {base}" in capsys.readouterr().out
    assert opened == [(tmp_path / ".console" / "open.html").as_uri()]
    assert private in (tmp_path / ".console" / "open.html").read_text()
    assert read(tmp_path) == (base, TOKEN)


def test_without_a_browser_it_says_where_the_first_one_is(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, urls_of("127.0.0.1", 8600, TOKEN)[1])
    assert cli.main([*words, "--no-browser"]) == Exit.USAGE
    assert "already runs at http://127.0.0.1:8600: use it, or end it first" in capsys.readouterr().err
    assert read(tmp_path) == ("http://127.0.0.1:8600", TOKEN)


def test_one_that_has_no_address_yet_is_said_to_start(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == Exit.USAGE
    assert "is starting or ending: try again in a moment" in capsys.readouterr().err


def test_only_its_user_can_read_the_token_and_nobody_when_the_console_has_ended(tmp_path: Path) -> None:
    (tmp_path / ".console").mkdir()
    keep(tmp_path, urls_of("127.0.0.1", 8600, TOKEN)[1])
    door(tmp_path, "http://127.0.0.1:8600/")
    written = sorted((tmp_path / ".console").iterdir())
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in written] == [
        ("address", 0o600),
        ("open.html", 0o600),
    ]
    forget(tmp_path)
    assert not [*(tmp_path / ".console").iterdir()]


@pytest.mark.parametrize(
    ("read_token", "sentence"),
    [
        ("short", "--read-token needs at least 12 characters"),
        ("the-same-long-token", "is the token that may change everything"),
    ],
)
def test_a_token_of_readers_is_good_and_another_one(
    read_token: str, sentence: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--token", "the-same-long-token", "--read-token", read_token]) == Exit.USAGE
    assert sentence in capsys.readouterr().err


def test_a_folder_is_free_again_when_its_console_has_ended(tmp_path: Path) -> None:
    with held_alone(tmp_path) as first, held_alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with held_alone(tmp_path) as third:
        assert third
