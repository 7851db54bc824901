"""The program that makes a load's requests, in this process: what it sends, and how it ends."""

from __future__ import annotations

import faulthandler
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bench.clock import NS_PER_S
from bench.config import RunConfig, resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import Exit, UsageError
from bench.load import feed_program
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of
from bench.load.frames import Frames
from bench.modes.share import WorkerShare

OPTIONS = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)
SHARE = WorkerShare(
    worker=1, workers=3, requests=None, duration_ns=NS_PER_S, warmup_requests=0, warmup_ns=0, users=2
)  # fmt: skip


def configured(**fields: Any) -> RunConfig:
    return resolve(
        {"url": "http://127.0.0.1:1", "duration": "1", "seed": "4", "input_tokens": "uniform:20..60", **fields}
    )


def assigned(config: RunConfig, salt: str | None = None) -> Assignment:
    return Assignment(config=config, share=SHARE, run_id="run", options=OPTIONS, directory=Path(), salt=salt)


class Fed:
    """What the program did with messages that were there before it began: its status, its bytes, and at how many bytes
    it gave way to other processes."""

    def __init__(self, messages: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> None:
        ours, theirs = socket.socketpair()
        self.gave_way_at: list[int] = []
        self.traceable = False
        self.sent = b""

        def enable() -> None:
            self.traceable = True

        monkeypatch.setattr(faulthandler, "enable", enable)
        monkeypatch.setattr(feed_program, "give_way", lambda: self.gave_way_at.append(self._read(ours)))
        ours.setblocking(False)
        with ours:
            connection = Connection(ours.dup().detach())
            for message in messages:
                connection.send(message)
            connection.close()
            ours.shutdown(socket.SHUT_WR)
            self.status = feed_program.main(theirs.detach())
            self._read(ours)

    def _read(self, ours: socket.socket) -> int:
        try:
            while piece := ours.recv(1 << 16):
                self.sent += piece
        except BlockingIOError:
            pass
        return len(self.sent)


@pytest.mark.parametrize(("loading", "salt"), [(False, None), (False, "salt"), (True, None)])
def test_it_sends_the_next_request_and_then_as_many_as_are_asked_for(
    loading: bool, salt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured()
    fed = Fed([(config, loading), assigned(config, salt), 2, 3, 1], monkeypatch)
    alone = source_of(config, tokenizer_of(config), SHARE, salt=salt)
    expected = [alone.pack_next(lambda sample: encode(sample, OPTIONS)) for _ in range(7)]
    assert fed.sent[:1] == b"."
    assert Frames().feed(fed.sent[1:]) == expected[2:], "two were made elsewhere"
    assert fed.status == 0
    # It gives way once, before anything is sent. Beside a load it does so from the start.
    assert fed.gave_way_at == [0]
    assert fed.traceable


def test_it_ends_without_a_word_if_the_sender_ends_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for messages in ([], [(configured(), False)], [(configured(), False), assigned(configured())]):
        fed = Fed(messages, monkeypatch)
        assert (fed.status, fed.sent, fed.gave_way_at) == (0, b"", [])
    assert capsys.readouterr().err == ""


def test_a_process_beside_a_load_gives_way_before_it_loads_its_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Fed([(configured(), True)], monkeypatch).gave_way_at == [0]


def test_what_is_wrong_with_the_data_is_said_with_the_status_of_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"nothing": 1}\n')
    config = resolve({"url": "http://127.0.0.1:1", "duration": "1", "dataset": str(tmp_path / "rows.jsonl")})
    fed = Fed([(config, False), assigned(config), 0], monkeypatch)
    assert (fed.status, fed.sent) == (Exit.USAGE, b"")
    said = capsys.readouterr().err
    assert said.startswith("making prompts: ")
    assert "rows.jsonl" in said
    assert "Traceback" not in said


def test_a_tokenizer_that_cannot_be_loaded_is_said_once_there_is_an_assignment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(config: RunConfig) -> None:
        raise UsageError("--tokenizer x: cannot be loaded")

    monkeypatch.setattr(feed_program, "tokenizer_of", fails)
    config = configured()
    assert Fed([(config, False)], monkeypatch).status == 0
    assert capsys.readouterr().err == ""
    assert Fed([(config, False), assigned(config)], monkeypatch).status == Exit.USAGE
    assert capsys.readouterr().err == "making prompts: --tokenizer x: cannot be loaded\n"


def test_a_defect_of_ours_is_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured()
    fed = Fed([(config, False), assigned(config), "two"], monkeypatch)
    assert fed.status == Exit.DEFECT
    assert "Traceback (most recent call last)" in capsys.readouterr().err
