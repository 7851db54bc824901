"""bench.run and the other functions, called from a program: with and without an event loop, with Ctrl-C, and with
settings in each form."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from bench.api.runs import _FromAnotherThread, configuration, run_outside_event_loop
from bench.config import Settings, resolve
from bench.errors import UsageError
from bench.observer import SILENT, Cadence, LoadOnly, Observer, PassingOn


def test_work_moves_to_another_thread_only_beside_a_running_loop() -> None:
    def where(observer: Observer) -> int:
        asyncio.run(asyncio.sleep(0))  # This runs its own loop.
        return threading.get_ident()

    async def beside() -> int:
        return run_outside_event_loop(where, SILENT)

    here = threading.get_ident()
    assert run_outside_event_loop(where, SILENT) == here
    assert asyncio.run(beside()) != here


def test_an_error_of_the_work_is_raised_in_the_thread_of_the_caller() -> None:
    def fails(observer: Observer) -> int:
        raise UsageError("nothing can be measured")

    async def beside() -> int:
        return run_outside_event_loop(fails, SILENT)

    with pytest.raises(UsageError, match="nothing can be measured"):
        asyncio.run(beside())


@dataclass
class Control:
    """The messages to a load."""

    interrupts: list[str] = field(default_factory=list)

    def interrupt(self) -> None:
        self.interrupts.append("load")


BEGINS, ENDS, OVER, CTRL_C = "load_begins", "load_ended", "run_ended", "interrupt"


@pytest.mark.parametrize(
    ("events", "told", "raised_at"),
    [
        # Before the load, and after the run, Ctrl-C ends the work at once.
        ([CTRL_C], 0, 0),
        ([BEGINS, ENDS, OVER, CTRL_C], 0, 3),
        # The load gets the first two.
        ([BEGINS, CTRL_C, CTRL_C, ENDS, OVER], 2, None),
        ([BEGINS, CTRL_C, CTRL_C, CTRL_C], 2, 3),
        # One lets the report finish, the next abandons it.
        ([BEGINS, ENDS, CTRL_C, OVER], 0, None),
        ([BEGINS, ENDS, CTRL_C, CTRL_C], 0, 3),
        ([BEGINS, CTRL_C, ENDS, CTRL_C, CTRL_C], 1, 4),
    ],
)
def test_what_ctrl_c_ends_in_the_thread_that_waits(events: list[str], told: int, raised_at: int | None) -> None:
    async def follow() -> tuple[int, int | None]:
        watched, control = _FromAnotherThread(SILENT), Control()
        acts: dict[str, Callable[[], None]] = {
            BEGINS: lambda: watched.load_begins(control),  # type: ignore[arg-type]
            ENDS: watched.load_ended,
            OVER: watched.run_ended,
            CTRL_C: watched.interrupt,
        }
        for place, event in enumerate(events):
            try:
                acts[event]()
            except KeyboardInterrupt:
                return len(control.interrupts), place
            await asyncio.sleep(0)
        return len(control.interrupts), None

    assert asyncio.run(follow()) == (told, raised_at)


def test_settings_may_be_a_configuration_a_mapping_a_file_or_words_which_override_them(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("url: http://h\nconcurrency: 3\nrequests: 9\n")
    given = {"url": "http://h", "concurrency": 3, "requests": 9}
    whole = resolve(given)
    assert configuration(whole) is whole
    for config in (whole, Settings.model_validate(given), given, file, str(file)):
        made = configuration(config, requests=5)
        assert (made.url, made.concurrency, made.requests) == ("http://h", 3, 5), config
        assert configuration(config).requests == 9


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://user:key@h", "api_key": "sk-1", "header": ["X-A: 1"], "extra_body": {"top_k": 3}},
        {"url": ["http://a=3", "http://b"], "rate": 2, "duration": "20s", "slo": ["ttft:p99<1s"]},
        {
            "url": "http://h",
            "mix": {"classes": [{"name": "a", "share": 1, "input_tokens": "8"}, {"name": "b", "share": 2}]},
        },
        {"url": "http://h", "mode": "sessions", "turns": "2", "concurrency": 2},
    ],
)
def test_a_complete_configuration_stays_what_it_is_but_for_what_overrides_it(given: dict[str, object]) -> None:
    whole = resolve(given)
    made = configuration(whole, name="other")
    assert made.with_values(name=whole.name) == whole
    assert made.name == "other"
    # A load of the default length, whose warm-up the run detects, may get a number of requests.
    assert configuration(resolve({"url": "http://h"}), requests=5).requests == 5


class Noted(Observer):
    """Records its messages, and by which method."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def say(self, line: str) -> None:
        self.told.append(("say", line))

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        self.told.append(("waiting", what))
        return nullcontext()

    @property
    def cadence(self) -> Cadence | None:
        return Cadence(1.0, 2.0)

    def load_begins(self, control: object) -> None:
        self.told.append(("load_begins", control))

    def progress(self, numbers: object) -> None:
        self.told.append(("progress", numbers))

    def load_ended(self) -> None:
        self.told.append(("load_ended",))

    def run_ended(self) -> None:
        self.told.append(("run_ended",))


def test_an_observer_that_passes_on_passes_everything_on() -> None:
    noted, anything = Noted(), cast("Any", object())
    observer = PassingOn(noted)
    observer.say("a line")
    observer.waiting("a wait")
    observer.load_begins(anything)
    observer.progress(anything)
    observer.load_ended()
    observer.run_ended()
    assert observer.cadence == Cadence(1.0, 2.0)
    assert noted.told == [
        ("say", "a line"), ("waiting", "a wait"), ("load_begins", anything), ("progress", anything), ("load_ended",),
        ("run_ended",),
    ]  # fmt: skip
    # The list above has every method of an observer.
    assert {name for name in vars(Observer) if name[0] != "_"} == {str(what) for what, *_ in noted.told} | {"cadence"}


def test_one_run_of_many_passes_on_its_load_and_ends_once() -> None:
    noted, anything = Noted(), cast("Any", object())
    observer = LoadOnly(noted)
    for _ in range(2):
        observer.say("before the load")
        observer.waiting("for the server")
        observer.load_begins(anything)
        observer.say("of the load")
        observer.progress(anything)
        observer.load_ended()
        assert noted.told[-1] == ("run_ended",), "a Ctrl-C from here on is for the series"
        observer.say("of the report")
        observer.run_ended()
    once = [("load_begins", anything), ("say", "of the load"), ("progress", anything), ("load_ended",), ("run_ended",)]
    assert noted.told == once * 2
    assert (observer.cadence, LoadOnly(noted, progress=False).cadence) == (noted.cadence, None)
