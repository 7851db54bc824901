"""The transport of a load: what counts its tokens, and how it deals requests out to several addresses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.clock import NS_PER_S
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.assignment import Assignment
from bench.load.components import source_of, target_of, transport_of
from bench.load.worker import Worker
from bench.modes.share import WorkerShare
from bench.transport import TRANSPORTS
from bench.transport.balance import LOST_IN_A_ROW
from bench.transport.several import SeveralTargets
from promptset.tokens import load_tokenizer

NO_CLOCK: Any = None
TWO: dict[str, Any] = {"url": ("http://a", "http://b")}


def made(monkeypatch: pytest.MonkeyPatch, *, with_tokenizer: bool = True, **flags: Any) -> Any:
    """The transport of these settings. That of each address is the target and the reading which it would get."""
    config = resolve({"url": "http://h", **flags})
    monkeypatch.setitem(TRANSPORTS, config.transport, lambda target, reading, clock: (target, reading))
    return transport_of(config, load_tokenizer() if with_tokenizer else None, NO_CLOCK)


def test_the_own_tokenizer_of_a_target_counts_what_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a few words, and some more"
    _, reading = made(monkeypatch, check_usage=True)
    assert reading.count(text) == load_tokenizer().count_plain([text])[0] > 1
    assert made(monkeypatch)[1].count is None, "the default tokenizer may be another one"
    assert made(monkeypatch, check_usage=True, with_tokenizer=False)[1].count is None


def test_each_address_has_its_own_target_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    several = made(monkeypatch, **TWO)
    assert isinstance(several, SeveralTargets)
    each: Any = several.transports
    assert [target.url for target, _ in each] == ["http://a/v1/chat/completions", "http://b/v1/chat/completions"]
    assert [reading.target for _, reading in each] == ["http://a", "http://b"]
    assert made(monkeypatch)[1].target is None


@pytest.mark.parametrize(
    ("flags", "keeps"), [({}, True), ({"affinity": "session"}, True), ({"affinity": "none"}, False)]
)
def test_a_session_stays_at_its_address_unless_that_is_not_wanted(
    flags: dict[str, Any], keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(monkeypatch, **TWO, **flags)._keeps_sessions is keeps


@pytest.mark.parametrize(("flags", "waited_s"), [({}, [1, 2, 4]), ({"watch_scale": True}, [1, 1, 1])])
def test_an_address_that_may_come_back_is_tried_every_second_if_its_return_is_measured(
    flags: dict[str, Any], waited_s: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    balance = made(monkeypatch, **TWO, **flags)._balance
    for _ in range(LOST_IN_A_ROW):
        balance.lost(0, 0)
    now_ns, tried_ns = 0, [0]
    while len(tried_ns) <= len(waited_s):
        now_ns += NS_PER_S // 2
        which = balance.choose(now_ns)
        balance.ended(which)
        if which == 0:
            balance.lost(0, now_ns)
            tried_ns.append(now_ns)
    assert [(later - at) / NS_PER_S for at, later in pairwise(tried_ns)] == waited_s


@pytest.mark.parametrize(
    ("flags", "websocket"),
    [({}, False), ({"endpoint": "responses"}, False), ({"endpoint": "responses", "websocket": True}, True),
     ({"endpoint": "realtime"}, True)],
)  # fmt: skip
def test_an_endpoint_that_has_only_a_websocket_is_asked_over_it(flags: dict[str, Any], websocket: bool) -> None:
    assert target_of(resolve({"url": "http://h", **flags})).websocket is websocket


@pytest.mark.parametrize(
    ("flags", "ahead"),
    [
        ({"concurrency": 4}, (5_000, 64 << 20)),
        ({"rate": 5}, (5_000, 64 << 20)),
        # Everything is sent at once, or making prompts would be a load for the target.
        ({"mode": "throughput", "requests": 40}, (200_000, 512 << 20)),
        ({"concurrency": 4, "tokenizer": "server"}, (200_000, 512 << 20)),
    ],
)
def test_prompts_are_made_before_the_load_up_to_a_limit(
    flags: dict[str, Any], ahead: tuple[int, int], tmp_path: Path
) -> None:
    config = resolve({"url": "http://h", **flags})
    share = WorkerShare(requests=3, duration_ns=None, warmup_requests=0, warmup_ns=0, users=4)
    options = BodyOptions(endpoint="chat", model="m")
    given = Assignment(config=config, share=share, run_id="r", options=options, directory=tmp_path)
    worker = Worker(given, source_of(config, load_tokenizer(), share), NO_CLOCK, NO_CLOCK)
    assert worker._ahead == ahead
    worker.close()
