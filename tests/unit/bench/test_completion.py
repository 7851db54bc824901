"""Completions: what is offered in a real shell is what the programs say that they take."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.commands import COMMANDS, help_text
from bench.commands.help_text import Shape
from bench.commands.shells import SHELLS
from bench.config.settings import Settings
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def commands() -> Mapping[str, Shape]:
    return help_text.commands()


@pytest.fixture(scope="module")
def mock() -> Shape:
    return help_text.mock()


@pytest.fixture
def script(request: pytest.FixtureRequest, commands: Mapping[str, Shape], mock: Shape, tmp_path: Path) -> Path:
    """The completion of the shell that is the test's parameter, in a file."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: apt-get install {shell}")
    path = tmp_path / f"completion.{shell}"
    path.write_text(SHELLS[shell](commands, mock))
    return path


ASKED: list[tuple[str, list[str]]] = [
    ("trueload ca", ["calibrate"]),
    ("trueload run --same-p", ["--same-prompts"]),
    ("trueload run --mode th", ["throughput"]),
    ("trueload run --cpu-priority r", ["realtime"]),
    ("trueload run --gpu-m", ["--gpu-metrics"]),
    ("trueload tasks st", ["start", "stop"]),
    ("trueload completion z", ["zsh"]),
    ("trueload report --format m", ["markdown"]),
    ("trueload run --config the-fi", ["the-file.yaml"]),
    ("trueload report the-fo", ["the-folder"]),
    ("trueload-mock --prefix-c", ["--prefix-caching"]),
    ("trueload-mock --prefix-caching of", ["off"]),
]
"""What is typed, and what is offered."""


def test_what_the_help_says_is_read(commands: Mapping[str, Shape], mock: Shape) -> None:
    assert list(commands) == list(COMMANDS)
    flags = {flag.name: flag for flag in commands["run"].flags}
    declared = {name for name, field in Settings.model_fields.items() if (field.json_schema_extra or {}) != {}}
    assert len(flags) > 60
    spelled = {f"--{name.replace('_', '-')}" for name in declared} | {
        f"--no-{name.replace('_', '-')}" for name in declared
    }
    assert set(flags) - spelled == {"--help", "--config", "--repeats"}
    assert flags["--mode"].value is not None
    assert flags["--mode"].value.choices == ("concurrency", "rate", "throughput", "trace", "sessions")
    assert flags["--insecure"].value is None
    assert flags["--insecure"].help == "do not check the server's certificate (https)"
    assert commands["tasks"].values[0].choices == ("ls", "start", "stop", "go-on", "clone", "rm", "open")
    assert {"--ttft", "--ledger"} <= {flag.name for flag in mock.flags}


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_offers_what_there_is(script: Path, tmp_path: Path) -> None:
    (tmp_path / "the-file.yaml").touch()
    (tmp_path / "the-folder").mkdir()
    lines = [f"source {script}", "complete -p trueload trueload-mock"]
    for typed, _ in ASKED:
        words = typed.split(" ")
        lines.append(f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1} COMPREPLY=()")
        lines.append('_trueload; echo "${COMPREPLY[*]}"')
    lines.append('COMP_WORDS=(trueload run --mode = ra) COMP_CWORD=4; _trueload; echo "${COMPREPLY[*]}"')
    ran = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    registered, offered = ran.stdout.splitlines()[:2], ran.stdout.splitlines()[2:]
    assert registered == ["complete -F _trueload trueload", "complete -F _trueload trueload-mock"]
    assert offered == [*(" ".join(words) for _, words in ASKED), "rate"]


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_offers_what_there_is(script: Path, tmp_path: Path) -> None:
    (tmp_path / "the-file.yaml").touch()
    (tmp_path / "the-folder").mkdir()
    for typed, words in ASKED:
        asks = f"source {script}; complete -C '{typed}'"
        home = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        ran = subprocess.run(["fish", "-c", asks], cwd=tmp_path, env=home, capture_output=True, text=True, check=True)
        offered = [line.partition("\t")[0].rstrip("/") for line in ran.stdout.splitlines()]
        assert offered == words, (typed, ran.stderr)


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_completes_what_is_typed(script: Path, tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        # A program that prints its words stands for the real one: what it prints is what was completed.
        setup = f"autoload -U compinit; compinit -u -d {tmp_path}/dump; source {script}; zle_bracketed_paste=()"
        os.write(terminal, f"{setup}; trueload() {{ print -r -- \"<$*>\" }}; PS1='ready'\n".encode())
        read_until(terminal, b"\nready|\rready|\x1b\\[.?ready")
        for typed, (word, *others) in ASKED:
            if others or typed.startswith("trueload-mock") or "the-" in typed:
                continue  # Several words are offered as a list.
            os.write(terminal, f"{typed}\t\n".encode())
            arguments = " ".join([*typed.split(" ")[1:-1], word])
            read_until(terminal, re.escape(f"<{arguments}>".encode()))
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, pattern: bytes) -> None:
    """Read what the shell writes until the pattern is there. AssertionError where it stays quiet for too long."""
    seen = b""
    while re.search(pattern, seen) is None:
        assert select.select([terminal], [], [], PATIENCE_S)[0], (pattern, seen)
        seen += os.read(terminal, 4096)
