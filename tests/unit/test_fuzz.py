"""Every target of fuzz/ over its corpus and some mutations of it, without atheris."""

from __future__ import annotations

import random
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType

import pytest

if sys.platform != "linux":
    pytest.skip("limits of memory and time as Linux has them", allow_module_level=True)

import fuzz
from fuzz import mutate
from fuzz.target import Target

LONGEST_S = 20
"""Of this process's CPU time, for one input: a hang takes for ever. Other programs on a busy machine do not count."""
MOST_BYTES = 2 * 1024**3
"""Of memory, in addition to the process's own: an input of some kilobytes needs a thousandth of it."""
MUTATIONS = {"run": 3, "other": 40}


class Hang(Exception):
    """An input that keeps a reader busy for too long."""


@contextmanager
def bounded(what: str) -> Iterator[None]:
    def end(_: int, __: FrameType | None) -> None:
        raise Hang(what)

    before = signal.signal(signal.SIGVTALRM, end)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MOST_BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_no_input_breaks_a_reader(name: str) -> None:
    target, seeds = fuzz.load(name), fuzz.corpus(name)
    assert seeds
    if target.missing:
        pytest.skip(target.missing)
    slow = target.read.__module__ == "fuzz.run_files" or name in ("summary_file", "baseline_file")
    count = MUTATIONS["run" if slow else "other"]
    for data in (*seeds, *islice(mutate.mutations(target, seeds, random.Random(name)), count)):
        with bounded(f"{name}: {data[:200]!r}"):
            try:
                target.read(data)
            except Exception as e:
                e.add_note(f"the input: {data!r}"[:2000])
                raise


def test_a_hang_is_seen() -> None:
    with pytest.raises(Hang, match="for ever"), bounded("for ever"):  # noqa: PT012 (the loop is what is ended)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
        while True:
            pass


def test_every_value_is_changed_to_every_odd_one_and_taken_away() -> None:
    target = Target(lambda _: None, "json")
    data = b'{"a": 1, "b": [2, {"c": 3}]}\n{"a": 4, "d": 5}\nno JSON'
    found = [*mutate.every_value(target, [data, data])]
    places = ["a", "b", "b *", "b * c", "d"]  # Equal places are changed once, so `a` of the second line is not.
    assert len(found) == len(places) * (len(mutate.ODD_VALUES) + 1)
    assert b'{"a":"nan","b":[2,{"c":3}]}\n{"a": 4, "d": 5}\nno JSON' in found
    assert b'{"a":1,"b":[{"c":3}]}\n{"a": 4, "d": 5}\nno JSON' in found
    assert b'{"a": 1, "b": [2, {"c": 3}]}\n{"a":4}\nno JSON' in found
    assert [*mutate.every_value(Target(lambda _: None), [data])] == []
    yaml_found = [*mutate.every_value(Target(lambda _: None, "yaml"), [b"x:\n  y: 1\n"])]
    assert b"x:\n  y: true\n" in yaml_found
    assert len(yaml_found) == 2 * (len(mutate.ODD_VALUES) + 1)
