"""The compiled sender alone: what it refuses, its helper thread, how its streams end, and whether it is used."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

import pytest

from mockserver import native
from mockserver.clock import now_ns

MS = 1_000_000

compiled = pytest.mark.skipif(native.sender() is None, reason="the sender is not compiled: install with a C compiler")


@compiled
def test_a_sender_says_what_is_wrong_with_a_stream() -> None:
    make = native.sender()
    assert make is not None
    core = make(0)
    known = {"a": b'"a"', "b": b'"b"'}
    good: list[Any] = [None, 1, 0, (1, 1), b"first", 1, b"last", 1, (), b"x", b"y\r\n", ["a", "b", "a"], known]

    def wrong(at: int, value: Any) -> list[Any]:
        return [*good[:at], value, *good[at + 1 :]]

    for at, value, error in (
        (3, (1, 2, 3), ValueError),
        (3, ("x", 1), TypeError),
        (4, "first", TypeError),
        (5, 0, ValueError),
        (7, 65, ValueError),
        (8, (b"", b"", b""), ValueError),
        (9, "x", TypeError),
        (11, [], ValueError),
        (11, ["a", "c", "a"], KeyError),
    ):
        with pytest.raises(error):
            core.add(*wrong(at, value))
    with pytest.raises(TypeError):
        core.remove(None)  # type: ignore[arg-type]
    core.close()
    core.close()
    with pytest.raises(RuntimeError):
        core.add(*good)


@compiled
def test_a_thread_that_is_late_is_helped() -> None:
    make = native.sender()
    assert make is not None
    core = make(0)
    try:
        if len(core.threads()) == 1:
            pytest.skip("there is one processor")
        _, (_, idle_ns) = core.threads()
        known = {"a": b'"a"'}
        pairs = [socket.socketpair() for _ in range(4)]
        for ours, _ in pairs:
            ours.setblocking(False)
        # All of them are late by a second: the first send detects it.
        streams = [
            core.add(
                None,
                ours.fileno(),
                now_ns() - 1000 * MS,
                (0,) * 49,
                b"f",
                1,
                b"z",
                1,
                (b"e",),
                b"x",
                b"y\r\n",
                ["a"] * 50,
                known,
            )
            for ours, _ in pairs
        ]
        while core.threads()[1][1] == idle_ns:
            select.select([], [], [], 0.001)
        while not all(stream.complete for stream in streams):
            core.take()
            select.select([], [], [], 0.001)
        for (ours, theirs), stream in zip(pairs, streams, strict=True):
            assert theirs.recv(1 << 16) == b"f" + b'5\r\nx"a"y\r\n' * 48 + b"ze"
            stamps = memoryview(stream.stamps).cast("q").tolist()
            assert len(stamps) == 51
            assert stamps == sorted(stamps)
            ours.close()
            theirs.close()
    finally:
        core.close()


@compiled
def test_what_a_client_has_read_to_its_end_is_taken_back_once_the_sends_are_over() -> None:
    make = native.sender()
    assert make is not None
    core = make(0)
    try:
        for number in range(3_000):  # Without `settle`, about one in a thousand was not given back yet.
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                core.add(number, ours.fileno(), now_ns(), (), b"z", 1, b"z", 1, (b"e",), b"", b"\r\n", ["a"], {})
                while not theirs.recv(9).endswith(b"e"):
                    pass
                core.settle()
                assert core.take() == [number]
    finally:
        core.close()


@compiled
def test_what_was_sent_to_its_end_while_it_was_taken_away_is_complete() -> None:
    make = native.sender()
    assert make is not None
    core = make(0)
    whole = cut = 0
    while not (whole > 20 and cut > 20):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = core.add(None, ours.fileno(), now_ns(), (), b"z", 1, b"z", 1, (b"e",), b"", b"\r\n", ["a"], {})
        if cut > 20:
            while not stream.ended:
                select.select([], [], [], 0)
        core.remove(stream)
        whole += stream.complete
        cut += not stream.complete
        assert stream.complete == (stream.ended == 1)
        ours.close()
        theirs.close()
    core.close()


def test_what_is_in_use_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELOAD_PURE", "1")
    assert native.sender() is None
    assert native.in_use() == "python"
    monkeypatch.setenv("TRUELOAD_PURE", "0")
    there = any(Path(native.__file__).parent.glob("_sender*.so"))
    assert native.in_use() == ("compiled" if there else "python")
