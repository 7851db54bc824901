"""Records a real run in a terminal as docs/pictures/terminal.cast (asciicast v2), and draws it as an animated SVG.

    scripts/terminal-recording          starts a mock, types the command below, records, draws
    scripts/terminal-recording --draw   draws the SVG anew from the cast

The script types the command; the text below the prompt is the command's real output, at its real times.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pyte

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS, ROWS = 80, 25
"""Enough rows for the whole result of the run, with its verdict."""
SHOWN = """python -m bench run --url http://127.0.0.1:8000 --concurrency 32 \\
    --requests 1000 --output-tokens 32"""
TRIES = 8
"""On a busy machine the verdict may not be VALID: the recording is tried again."""
HOLD_S = 6.0
"""How long the last picture stays."""
CHARACTER, LINE, MARGIN = 8.0, 18.0, 14.0
COLOURS = {
    "default": "#d8dee9",
    "green": "#8fce8f",
    "red": "#ef8a8a",
    "yellow": "#e8cf7a",
    "brown": "#e8cf7a",
    "blue": "#8fb4ef",
    "cyan": "#86d3d3",
    "magenta": "#d3a1e0",
    "black": "#7b8494",
    "white": "#ffffff",
}


@dataclass(frozen=True, slots=True)
class Output:
    """Output to a terminal at a moment."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the screen, for as long as it looks the same."""

    row: int
    runs: tuple[tuple[int, str, str, bool], ...]
    """(column, text, colour, bold)"""
    from_s: float
    to_s: float


def record(command: list[str], cwd: Path) -> tuple[int, list[Output]]:
    """Run a command in a terminal of its own. Returns its exit status, and its output with times."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, close_fds=True)
    os.close(slave)
    begun, wrote, kept = time.monotonic(), [], b""
    while True:
        ready, _, _ = select.select([master], [], [], 0.2)
        if not ready and process.poll() is not None:
            break
        if ready:
            try:
                kept += os.read(master, 65536)
            except OSError:  # The other end has closed.
                break
            text = kept.decode(errors="ignore")
            kept = kept[len(text.encode()) :]
            wrote.append(Output(time.monotonic() - begun, text))
    os.close(master)
    return process.wait(), wrote


def typed(words: str) -> list[Output]:
    """A prompt, and words being typed."""
    prompt = [Output(0.0, "\x1b[1;32m$\x1b[0m ")]
    keys = [Output(0.5 + 0.035 * at, letter) for at, letter in enumerate(words.replace("\n", "\r\n"))]
    return [*prompt, *keys, Output(keys[-1].at_s + 0.4, "\r\n")]


def cast(outputs: list[Output]) -> str:
    """The recording as asciicast v2."""
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "A run of Trueload"}
    return "\n".join([json.dumps(head), *(json.dumps([round(o.at_s, 3), "o", o.text]) for o in outputs)]) + "\n"


def read_cast(text: str) -> list[Output]:
    """The outputs of a cast."""
    return [Output(at, written) for at, kind, written in map(json.loads, text.splitlines()[1:]) if kind == "o"]


def _runs(screen: pyte.Screen, row: int) -> tuple[tuple[int, str, str, bool], ...]:
    """The parts of a row, one per style; blanks at the ends are left out."""
    found: list[tuple[int, str, str, bool]] = []
    cells = screen.buffer[row]
    for column in range(screen.columns):
        cell = cells[column]
        before = found[-1] if found else None
        if before and before[2:] == (cell.fg, cell.bold) and before[0] + len(before[1]) == column:
            found[-1] = (before[0], before[1] + cell.data, cell.fg, cell.bold)
        else:
            found.append((column, cell.data, cell.fg, cell.bold))
    return tuple((at, text.rstrip(), fg, bold) for at, text, fg, bold in found if text.strip())


def rows_over_time(outputs: list[Output], hold_s: float = HOLD_S) -> tuple[list[Shown], float]:
    """Every state of every row, and the total duration."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    looks: dict[int, tuple[tuple[tuple[int, str, str, bool], ...], float]] = {}
    found: list[Shown] = []
    for output in outputs:
        stream.feed(output.text)
        for row in range(ROWS):
            runs = _runs(screen, row)
            before, since = looks.get(row, ((), 0.0))
            if runs != before:
                if before and output.at_s > since:
                    found.append(Shown(row, before, since, output.at_s))
                looks[row] = (runs, output.at_s)
    end = outputs[-1].at_s + hold_s
    found += [Shown(row, runs, since, end) for row, (runs, since) in looks.items() if runs]
    return sorted(found, key=lambda shown: (shown.from_s, shown.row)), end


def _span(at: int, text: str, colour: str, bold: bool) -> str:
    fill, weight = COLOURS.get(colour, f"#{colour}"), ' font-weight="bold"' if bold else ""
    place = f'x="{MARGIN + CHARACTER * at:g}" textLength="{CHARACTER * len(text):g}"'
    return f'<tspan {place} fill="{fill}"{weight}>{escape(text)}</tspan>'


def svg(outputs: list[Output]) -> str:
    """The recording as an SVG that plays by itself, and stands still for readers who prefer reduced motion."""
    shown, end = rows_over_time(outputs)
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, ROWS * LINE + 2 * MARGIN
    style, body = [], []
    for number, part in enumerate(shown):
        begins, ends = (round(100 * moment / end, 3) for moment in (part.from_s, part.to_s))
        last = part.to_s >= end
        stops = (
            [f"0%{{visibility:hidden}}{begins}%{{visibility:visible}}"] if begins > 0 else ["0%{visibility:visible}"]
        )
        stops += [] if last else [f"{ends}%{{visibility:hidden}}"]
        style.append(f"@keyframes k{number}{{{''.join(stops)}}}#r{number}{{animation-name:k{number}}}")
        y = MARGIN + LINE * part.row + 13
        spans = "".join(_span(*run) for run in part.runs)
        body.append(f'<text id="r{number}" y="{y:g}" class="t{" last" if last else ""}">{spans}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
        "<title>A run of Trueload in a terminal</title><style>"
        "text{font:13px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        # It begins with the result, for a moment: a reader who does not wait has seen it.
        f".t{{visibility:hidden;animation:{end:.2f}s step-end {3 - end:.2f}s infinite}}"
        "@media(prefers-reduced-motion:reduce),print{.t{animation:none}.last{visibility:visible}}"
        f"{''.join(style)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#1f2430"/>{"".join(body)}</svg>\n'
    )


def _mock() -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "mockserver",
        "--port",
        "0",
        "--ttft",
        "lognormal:mean=80ms,cv=0.3",
        "--tpot",
        "10ms",
    ]
    mock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert mock.stdout is not None
        yield mock.stdout.readline().split()[-1]
    finally:
        mock.terminate()
        mock.wait()


def main() -> int:
    """Record and draw. Exit status 1: no run was VALID, and nothing was written."""
    path = PICTURES / "terminal.cast"
    if "--draw" not in sys.argv[1:]:
        for url in _mock():
            port = url.rpartition(":")[2]
            words = SHOWN.replace("python", sys.executable, 1).replace("8000", port).replace("\\\n", "").split()
            for _ in range(TRIES):
                with tempfile.TemporaryDirectory() as folder:
                    status, wrote = record(words, Path(folder))
                if status == 0 and any("VALID" in o.text and "INVALID" not in o.text for o in wrote):
                    break
            else:
                print("no run was VALID: the machine is too busy to show one", file=sys.stderr)
                return 1
            before = typed(SHOWN)
            begun = before[-1].at_s
            wrote = [Output(begun + o.at_s, o.text.replace(f":{port}", ":8000")) for o in wrote]
            path.write_text(cast([*before, *wrote]), encoding="utf-8")
    drawn = svg(read_cast(path.read_text(encoding="utf-8")))
    (PICTURES / "terminal.svg").write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
