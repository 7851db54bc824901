"""The scraper, seen from the sending process: its messages, its end, and the death of its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.target import scraper as module
from bench.target.scrape_task import FirstScrape, ScrapePage, ScrapeTask, ServerNow
from bench.target.scraper import Scraper

TASK = ScrapeTask((ScrapePage("http://h/metrics"),), "server.jsonl", "gpu.jsonl")


class Companion:
    """The process. Answers from a script, and records its calls."""

    process = None

    def __init__(self, first: FirstScrape | Exception) -> None:
        self._first = first
        self.connection = self
        self.messages: list[Any] = []
        self.done: list[object] = []
        self.reading = False

    async def ask(self, task: object, kind: type) -> FirstScrape:
        assert (task, kind) == (TASK, FirstScrape)
        if isinstance(self._first, Exception):
            raise self._first
        return self._first

    def listen(self, call: Callable[[], None]) -> None:
        self.reading, self.comes = True, call

    def stop(self) -> None:
        self.reading = False

    def close(self) -> None:
        self.stop()
        self.done.append("closed")

    def send(self, message: object) -> None:
        """The last scrape is answered with a last message."""
        self.done.append(("asked for the last scrape", message))
        self.messages.append(None)
        self.comes()

    def recv(self) -> object:
        message = self.messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message


def course(
    first: FirstScrape | Exception, monkeypatch: pytest.MonkeyPatch, *messages: object
) -> tuple[Scraper, Companion, tuple[str, ...]]:
    """A scraper that has begun, received these messages, and finished."""
    companion = Companion(first)
    monkeypatch.setattr(module, "Companion", lambda program: companion)

    async def main() -> tuple[Scraper, tuple[str, ...]]:
        made = Scraper(TASK)
        problems = await made.begin()
        for message in messages:
            companion.messages.append(message)
            companion.comes()
        await made.finish()
        return made, problems

    made, problems = asyncio.run(main())
    return made, companion, problems


LAST = ("asked for the last scrape", None)


def test_what_it_saw_last_is_kept_and_the_last_scrape_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ServerNow({"running": 3.0})
    made, companion, problems = course(FirstScrape(("none",), True), monkeypatch, ServerNow({}), now)
    assert (made.now, made.died, problems, companion.done) == (now, False, ("none",), [LAST, "closed"])


def test_where_nothing_goes_on_there_is_no_last_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    made, companion, problems = course(FirstScrape((), False), monkeypatch)
    assert (made.now, made.died, problems, companion.done) == (None, False, (), ["closed"])


@pytest.mark.parametrize("error", [EOFError(), OSError()])
def test_a_process_that_dies_ends_no_run(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    made, companion, problems = course(error, monkeypatch)
    assert (made.died, problems, companion.done) == (True, (), ["closed"])
    made, companion, _ = course(FirstScrape((), True), monkeypatch, ServerNow({}), error)
    assert (made.died, made.now, companion.done) == (True, ServerNow({}), ["closed"])


def test_an_end_after_the_last_scrape_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    made, companion, _ = course(FirstScrape((), True), monkeypatch)
    companion.messages.append(EOFError())
    made._read()
    assert not made.died
