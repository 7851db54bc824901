"""scripts/terminal-recording: a terminal's content becomes rows of an SVG. The SVG in docs/ matches its cast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    pytest.importorskip("pyte", reason="needs the extra `docs`")
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("terminal_recording")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        sys.modules.pop("terminal_recording", None)


def test_a_row_is_shown_for_as_long_as_it_looks_the_same(script: ModuleType) -> None:
    outputs = [
        script.Output(1.0, "10%\r\nbelow"),
        script.Output(2.0, "\x1b[A\r20%"),
        script.Output(3.0, "\x1b[1;32m!"),
    ]
    shown, end = script.rows_over_time(outputs, hold_s=2.0)
    looks = [(part.row, "".join(run[1] for run in part.runs), part.from_s, part.to_s) for part in shown]
    assert end == 5.0
    assert looks == [(0, "10%", 1.0, 2.0), (1, "below", 1.0, 5.0), (0, "20%", 2.0, 3.0), (0, "20%!", 3.0, 5.0)]
    assert shown[-1].runs == ((0, "20%", "default", False), (3, "!", "green", True))


def test_a_cast_is_read_as_it_was_written(script: ModuleType) -> None:
    outputs = [*script.typed("ls -l"), script.Output(1.5, 'total "0"\r\n\x1b[32mé\x1b[0m')]
    text = script.cast(outputs)
    assert text.startswith('{"version": 2, "width": 80, "height": 25')
    assert [(round(o.at_s, 3), o.text) for o in outputs] == [(o.at_s, o.text) for o in script.read_cast(text)]


def test_the_svg_says_when_each_row_is_seen_and_escapes_what_it_shows(script: ModuleType) -> None:
    drawn = script.svg([script.Output(2.0, "a<b"), script.Output(4.0, "\rc&d")])
    ElementTree.fromstring(drawn)
    assert "a&lt;b" in drawn
    assert "c&amp;d" in drawn
    assert "@keyframes k0{0%{visibility:hidden}20.0%{visibility:visible}40.0%{visibility:hidden}}" in drawn
    assert "@keyframes k1{0%{visibility:hidden}40.0%{visibility:visible}}" in drawn
    assert "animation:10.00s step-end -7.00s infinite" in drawn


@pytest.mark.processes
def test_a_command_is_recorded_in_a_terminal(script: ModuleType, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-c",
        "import os, sys; print(os.get_terminal_size().columns, sys.stdout.isatty()); sys.exit(3)",
    ]
    status, wrote = script.record(words, tmp_path)
    assert (status, "".join(o.text for o in wrote)) == (3, "80 True\r\n")


def test_the_picture_in_docs_is_drawn_from_the_recording_and_shows_a_valid_run(script: ModuleType) -> None:
    outputs = script.read_cast((PICTURES / "terminal.cast").read_text(encoding="utf-8"))
    assert script.svg(outputs) == (PICTURES / "terminal.svg").read_text(encoding="utf-8")
    words = "".join(output.text for output in outputs)
    assert "VALID" in words
    assert "INVALID" not in words
    assert "too few" not in words
    assert "/tmp" not in words


def test_the_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert sum(sizes.values()) < 600_000, sizes
