"""Completions: a real shell offers what the programs accept."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end

pytestmark = pytest.mark.processes

PROGRAMS = {
    "trueload": ["-m", "bench", "completion"],
    "trueload-mock": ["-m", "mockserver", "--print-completion"],
}


@pytest.fixture(scope="module")
def printed() -> dict[tuple[str, str], str]:
    """The printed completions, by program and shell."""
    return {}


@pytest.fixture
def script(request: pytest.FixtureRequest, printed: dict[tuple[str, str], str], tmp_path: Path) -> Path:
    """The completions of both programs for the shell in the test's parameter. Returns the load tester's."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: apt-get install {shell}")
    for program, words in PROGRAMS.items():
        if (program, shell) not in printed:
            ran = run_to_end([sys.executable, *words, shell])
            assert ran.returncode == 0, ran.stderr
            printed[program, shell] = ran.stdout
        (tmp_path / f"{program}.{shell}").write_text(printed[program, shell])
    return tmp_path / f"trueload.{shell}"


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
"""Typed words, and what is offered."""


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_offers_what_there_is(script: Path, tmp_path: Path) -> None:
    (tmp_path / "the-file.yaml").touch()
    (tmp_path / "the-folder").mkdir()
    lines = [f"source {tmp_path / f'{program}.bash'}" for program in PROGRAMS]
    for typed, _ in ASKED:
        words = typed.split(" ")
        lines.append(f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1} COMPREPLY=()")
        lines.append(f'_shtab_{words[0].replace("-", "_")}; echo "${{COMPREPLY[*]}}"')
    ran = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [" ".join(words) for _, words in ASKED]


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_offers_what_there_is(script: Path, tmp_path: Path) -> None:
    (tmp_path / "the-file.yaml").touch()
    (tmp_path / "the-folder").mkdir()
    for typed, words in ASKED:
        sources = "; ".join(f"source {tmp_path / f'{program}.fish'}" for program in PROGRAMS)
        asks = f"{sources}; complete -C '{typed}'"
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
        # A program that prints its words replaces the real one, so its output shows what was completed.
        setup = f'autoload -U compinit; compinit -u -d {tmp_path}/dump; eval "$(<{script})"; zle_bracketed_paste=()'
        os.write(terminal, f"{setup}; trueload() {{ print -r -- \"<$*>\" }}; PS1='ready'\n".encode())
        read_until(terminal, b"\nready|\rready|\x1b\\[.?ready")
        for typed, (word, *others) in ASKED:
            if others or typed.startswith("trueload-mock") or "the-" in typed:
                continue  # The shell offers several words as a list.
            os.write(terminal, f"{typed}\t\n".encode())
            arguments = " ".join([*typed.split(" ")[1:-1], word])
            read_until(terminal, re.escape(f"<{arguments}>".encode()))
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, pattern: bytes) -> None:
    """Read the shell's output until the pattern appears. AssertionError if it stays silent for too long."""
    seen = b""
    while re.search(pattern, seen) is None:
        assert select.select([terminal], [], [], PATIENCE_S)[0], (pattern, seen)
        seen += os.read(terminal, 4096)
