"""The command `console` in this process: what it refuses, prints and opens, and how it ends."""

from __future__ import annotations

import io
import re
import signal
import sys
import webbrowser
from pathlib import Path

import pytest

from bench import cli
from bench.console.address import read
from bench.errors import Exit, UsageError
from bench.run_files.run_directory import held_alone
from tests.support.console_process import TOKEN


class Terminal(io.StringIO):
    """A terminal whose user ends the console with Ctrl-C as soon as it prints its address, and `runs` then."""

    def __init__(self, runs: Path) -> None:
        super().__init__()
        self.runs = runs
        self.kept: tuple[str, str] | None = None

    def write(self, text: str) -> int:
        if self.kept is None:
            self.kept = read(self.runs)
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.mark.parametrize("words", [["--token", TOKEN], []])
@pytest.mark.parametrize("browser", [True, False])
def test_it_prints_its_address_opens_its_page_and_ends_at_ctrl_c(
    words: list[str], browser: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(Path(url.removeprefix("file://")).read_text()))
    monkeypatch.setattr(sys, "stdout", terminal := Terminal(tmp_path))
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    more = [*words, *([] if browser else ["--no-browser"])]
    assert cli.main(["console", "--port", "0", "--runs", str(tmp_path), *more]) == Exit.GOOD
    assert terminal.kept is not None
    base, token = terminal.kept
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base)
    # A token of the user's own is not printed.
    shown = base if words else f"{base}/?token={token}"
    assert terminal.getvalue() == f"console ready at {shown}\n"
    assert (token == TOKEN) is bool(words)
    assert len(opened) == browser
    assert all(f"{base}/?token={token}" in page for page in opened)
    with pytest.raises(UsageError):
        read(tmp_path)  # Its address is forgotten.


@pytest.mark.parametrize(("port", "refused"), [("65535", False), ("65536", True), ("-1", True), ("x", True)])
def test_a_port_has_sixteen_bits(port: str, refused: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".console").mkdir()
    with held_alone(tmp_path / ".console"):  # So that it does not serve.
        assert cli.main(["console", "--runs", str(tmp_path), f"--port={port}"]) == Exit.USAGE
    assert (f"--port must be from 0 to 65535 (given: '{port}')" in capsys.readouterr().err) is refused
