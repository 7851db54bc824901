"""A command's waits: a moving line on a terminal, plain lines elsewhere, and nothing with --quiet."""

from __future__ import annotations

import io
import os
import re
import threading

import pytest

from bench import notices
from bench.notices import SILENT, Notices
from tests.support.patience import PATIENCE_S


class Told(io.StringIO):
    """A stream that reports each write."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal
        self.written = threading.Condition()

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        raise OSError

    def write(self, text: str) -> int:
        with self.written:
            count = super().write(text)
            self.written.notify_all()
        return count

    def wait_for(self, pattern: str, times: int = 1) -> None:
        def came() -> bool:
            return len(re.findall(pattern, self.getvalue())) >= times

        with self.written:
            assert self.written.wait_for(came, timeout=PATIENCE_S)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOWN_AFTER_S", "TURN_EVERY_S", "LINE_EVERY_S", "PLAIN_AFTER_S"):
        monkeypatch.setattr(notices, name, 0.01)


def test_a_wait_is_named_again_and_again_in_plain_lines() -> None:
    stream = Told()
    with Notices(stream).waiting("waiting for a server"):
        stream.wait_for(r"waiting for a server \(\d+ s\)\n", times=3)
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_what_is_waited_for_may_change() -> None:
    stream, made = Told(), iter(range(1_000_000))
    with Notices(stream).waiting(lambda: f"making prompts: {next(made)} of 9"):
        stream.wait_for("making prompts: 1 of 9")


def test_on_a_terminal_the_line_moves_and_is_wiped() -> None:
    stream = Told(terminal=True)
    told = Notices(stream)
    with told.waiting("w" * 200):
        stream.wait_for("\r\x1b\\[K", times=3)
        told("a line that stays")
    text = stream.getvalue()
    assert "\r\x1b[Ka line that stays\n" in text
    assert text.endswith("\r\x1b[K") or text.endswith("a line that stays\n")
    assert max(len(part) for part in text.replace("\n", "").split("\r\x1b[K")) == 79
    # The elapsed time is at the end, however long the line is.
    assert re.search(r"w \(\d+ s\)\r", text) is not None


def test_a_short_wait_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "PLAIN_AFTER_S", 60.0)
    stream = Told()
    with Notices(stream).waiting("a moment"):
        pass
    assert stream.getvalue() == ""


def test_waits_end_with_what_is_raised_in_them() -> None:
    stream = Told()

    def divide() -> None:
        with Notices(stream).waiting("a sum"):
            stream.wait_for("a sum")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        divide()
    threads = [thread for thread in threading.enumerate() if thread.name == "notices"]
    assert threads == []


def test_silent_says_nothing_and_starts_no_thread() -> None:
    before = threading.active_count()
    with SILENT.waiting("anything"):
        SILENT("a line")
        assert threading.active_count() == before


def test_a_reader_that_has_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    Notices(stream)("a line")
    os.close(writing)  # The buffered text cannot be written any more.
    with pytest.raises(OSError, match="Bad file descriptor"):
        stream.close()


@pytest.mark.parametrize(("encoding", "first"), [("UTF-8", "⠋"), ("ascii", "|"), (None, "|")])
def test_the_moving_line_has_only_letters_that_the_terminal_can_show(encoding: str | None, first: str) -> None:
    encoded: type[Told] = type("Encoded", (Told,), {"encoding": encoding})
    stream = encoded(terminal=True)
    with Notices(stream).waiting("a sum"):
        stream.wait_for("a sum")
    assert stream.getvalue().startswith(f"\r\x1b[K{first} a sum (0 s)")
