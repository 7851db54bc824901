"""The examples of the documentation: found in its pages, and run in an environment with everything their commands refer
to.

    ```console   each line that starts with `$ ` is a command; the other lines are what it printed, once
    ```python    a program
    ```yaml      a configuration, of `bench run` or, where a mock reads it, of the mock; or a recipe of sessions (`like:`),
                 an API (`path:`), or a race of flags (`server:`)
    ```sh        commands that cannot be run by a test
    ```text ```json ```mermaid   no commands

A command that starts a server runs until it reports ready, on a free port, and is stopped at the end of its page; the
address used on the page leads to it from then on. A background command (`&`) is not waited for: readers paste whole
blocks, so the commands below it must wait by themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen

ROOT = Path(__file__).parents[2]
RUN, LEFT_OUT, NO_COMMANDS = ("console", "python", "yaml"), ("sh",), ("text", "json", "mermaid")
SERVERS = {
    "python -m mockserver": "http://127.0.0.1:8000",
    "python -m bench console": "http://127.0.0.1:8600",
    "scripts/real-server": "http://127.0.0.1:8080",
}
"""Commands that serve until stopped, and their default addresses."""
MEASURES = re.compile(r"scripts/demo|(trueload|python -m bench) (run|calibrate|report|search|sweep|gate|compare|tune)")
"""Commands that exit with 3 if other programs keep the machine busy: an honest answer."""
READY = re.compile(r"ready at (http://\S+)")
_TYPED = "-- typed:"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; `line` is that of its opening fence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block, and the lines below it."""

    words: str
    shown: tuple[str, ...]


def blocks_of(page: str, text: str) -> list[Block]:
    """Every fenced block, in page order."""
    found: list[Block] = []
    inside: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            if inside is not None:
                inside[2].append(line)
        elif inside is None:
            inside = (number, line[3:].strip(), [])
        else:
            found.append(Block(page, inside[0], inside[1], "\n".join(inside[2]) + "\n"))
            inside = None
    assert inside is None, f"{page}:{inside[0]}: the block has no end"
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block; a trailing backslash continues on the next line."""
    found: list[tuple[str, list[str]]] = []
    open_ended = False
    for line in block.text.splitlines():
        if open_ended:
            found[-1] = (found[-1][0].removesuffix("\\") + line.strip(), found[-1][1])
            open_ended = line.endswith("\\")
        elif line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
            open_ended = line.endswith("\\")
        else:
            assert found, f"{block}: begins with {line!r}, but a command begins with '$ '"
            found[-1][1].append(line)
    assert found, f"{block}: a console block without a command"
    return [Command(words, tuple(shown)) for words, shown in found]


def configuration_name(blocks: list[Block], at: int) -> tuple[str, bool]:
    """The file that the next command reads (--config, --mix, --endpoint, tune), and whether a mock reads it."""
    for block in blocks[at + 1 :]:
        if block.language == "yaml":
            break
        if (
            named := re.search(
                r"^\$ (.*)(?:--config|--mix|--endpoint(?= \S+\.yaml)|bench tune) (\S+)", block.text, re.MULTILINE
            )
        ) is not None:
            return named[2], "mockserver" in named[1]
    return "settings.yaml", False


def labels(lines: tuple[str, ...]) -> list[str]:
    """The text before the numbers in table rows: it does not change from run to run."""
    rows = [re.split(r"  +(?=[-+]?\d)", line.strip(), maxsplit=1) for line in lines]
    return [row[0] for row in rows if len(row) == 2 and row[0][:1].isalpha()]


def patient(text: str) -> str:
    """A command, or its output, with objectives that no busy machine fails: limits are a thousand times as long, except
    for 1 ms."""
    text = re.sub(r"(:p\d+<(?:\d{3,}(?=ms)|\d+(?=s)))", r"\g<1>000", text)
    return re.sub(r"(?<=inputs_per_s>)\d+", "0.001", text)


def plain_words(words: str) -> list[str] | None:
    """The words of a command that starts the interpreter and needs no shell. Returns None for other commands."""
    if not words.startswith("python -m ") or re.search(r"[$`*?~#\n\\]", words):
        return None
    parts = shlex.shlex(words, posix=True, punctuation_chars=True)
    parts.whitespace_split = True
    found = list(parts)
    return None if any(set(part) <= set("();<>|&") for part in found) else [sys.executable, *found[1:]]


class Workplace:
    """A directory in which a page's examples run: with our scripts, our interpreter, a test, and files from earlier
    examples."""

    def __init__(self, folder: Path, mock_url: str) -> None:
        self.folder = folder
        self.addresses = {"http://127.0.0.1:8000": mock_url}
        self._servers: list[subprocess.Popen[str]] = []
        self._ports = contextlib.ExitStack()
        for name in (
            "scripts",
            "gpu",
            "bench",
            "mockserver",
            "datasets",
            "pyproject.toml",
            "constraints.txt",
            "hatch_build.py",
        ):
            (folder / name).symlink_to(ROOT / name)
        (folder / "tests" / "unit").mkdir(parents=True)
        (folder / "tests" / "unit" / "test_nothing.py").write_text("def test_nothing() -> None:\n    pass\n")
        # scripts/environment accepts this as a complete environment.
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").write_text("")  # The environment's programs are on the path already.
        for name in ("python", "pip", "ruff", "mypy", "trueload", "trueload-mock", "trueload-promptset"):
            program = folder / ".venv" / "bin" / name
            real = sys.executable if name == "python" else str(Path(sys.executable).parent / name)
            program.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
            program.chmod(0o755)
        compiled = sorted(path for package in ("bench", "mockserver") for path in (ROOT / package).rglob("*.c"))
        declared = (ROOT / name for name in ("pyproject.toml", "constraints.txt", "hatch_build.py"))
        content = b"".join(path.read_bytes() for path in (*declared, *compiled))
        installed = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout
        for extras in ("core", "dev,real"):
            (folder / ".venv" / f"installed-{extras}").write_bytes(installed)
        unwanted = ("OPENAI_API_KEY", "PYTHONUNBUFFERED", "FORCE_COLOR", "PYTHONWARNINGS", "PYTEST_ADDOPTS")
        ours = {name for name in os.environ if name.startswith("PYTEST_XDIST")}
        self._env = {name: value for name, value in os.environ.items() if name not in (*unwanted, *ours)}
        self._env["PATH"] = f"{folder / '.venv' / 'bin'}:{self._env['PATH']}"

    def at_real_addresses(self, text: str) -> str:
        """The text with the servers' real addresses."""
        for known, real in self.addresses.items():
            text = text.replace(known, real)
        return text

    def run(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command to its end."""
        words = self.at_real_addresses(patient(words))
        if (ours := plain_words(words)) is None:
            process = subprocess.Popen(["bash", "-o", "pipefail", "-c", words], **self._own(text=True))
        else:
            process = popen(ours, **self._own(text=True))
        with process:
            try:
                out, err = process.communicate(timeout=2 * PATIENCE_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def _own(self, **more: Any) -> dict[str, Any]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return {"cwd": self.folder, "env": self._env, **pipes, **more}

    def serve(self, words: str) -> None:
        """Start a server on a free port, and wait until it is ready, unless it runs in the background."""
        known = next(address for command, address in SERVERS.items() if words.startswith(command))
        if (told := re.search(r"--port[ =]([1-9]\d*)", words)) is not None:
            known = f"http://127.0.0.1:{told[1]}"
        in_the_background = words.endswith("&")
        words = words.removesuffix("&").strip()
        if in_the_background:
            port = self._ports.enter_context(held_port())
            self.addresses[known] = f"http://127.0.0.1:{port}"
            self._servers.append(self._start(f"{words} --port {port}", subprocess.DEVNULL))
            return
        words = f"{words} --port 0"  # The last --port counts.
        process = self._start(words, subprocess.PIPE)
        self._servers.append(process)
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], PATIENCE_S)[0], f"{words}: not ready in time"
        replicas = re.search(r"--replicas[ =](\d+)", words)
        said = [process.stdout.readline() for _ in range(1 if replicas is None else int(replicas[1]))]
        ready = [READY.search(line) for line in said]
        if None in ready:
            self._servers.remove(process)
            process.stdout.close()
            raise AssertionError(f"{words}: ended with status {process.wait(PATIENCE_S)} before it was ready")
        place, _, first = known.rpartition(":")
        for number, address in enumerate(filter(None, ready)):
            self.addresses[f"{place}:{int(first) + number}"] = address[1]

    def _start(self, words: str, out: int) -> subprocess.Popen[str]:
        streams = self._own(stdout=out, stderr=subprocess.DEVNULL, text=True)
        if (ours := plain_words(words)) is None:
            return subprocess.Popen(["bash", "-c", f"exec {words}"], **streams)
        return popen(ours, **streams)

    def close(self) -> None:
        """Stop the servers, and check that each exits cleanly."""
        self._ports.close()
        for process in self._servers:
            process.terminate()
        for process in self._servers:
            try:
                process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        assert [process.returncode for process in self._servers] == [0] * len(self._servers)


class Shell:
    """A persistent bash: each command sees the directory, variables and jobs of earlier ones."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, words: str) -> tuple[int, str]:
        """Run a command; returns its exit status and output. A background command is not waited for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        in_the_background = words.endswith("&")
        told = "" if in_the_background else f"status=$?; echo; echo {_TYPED} $status\n"
        self._process.stdin.write(f"{words}\n{told}")
        self._process.stdin.flush()
        if in_the_background:
            return 0, ""
        printed: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_TYPED):
                return int(line.split()[-1]), "".join(printed)
            printed.append(line)
        raise AssertionError(f"{words}: the shell has ended\n{''.join(printed)}")

    def close(self) -> None:
        """End the shell, and everything started in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()


@contextlib.contextmanager
def workplace(folder: Path, mock_url: str) -> Iterator[Workplace]:
    """A workplace whose servers are stopped at the end."""
    place = Workplace(folder, mock_url)
    try:
        yield place
    finally:
        place.close()


def anchors(text: str) -> set[str]:
    """The link anchors of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
