"""The probe: its requests to a server that refuses options or sends no text, and its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from bench.clock import LoopClock
from bench.endpoints.interface import BodyOptions
from bench.errors import TargetError
from bench.records import Outcome, RequestRecord
from bench.target.probe import AskedServer, ProbeResult, ask, probe
from bench.workload import InputBatch
from promptset.samples import Sample
from tests.support.made_records import made_record
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

HELLO = Sample(prompt="Say hello.", output_tokens=4)
OK = made_record()
EMPTY = made_record(outcome=Outcome.NO_TOKENS, status=200, chunks_ms=(), n=None, output_tokens_from=None)


def status(code: int) -> RequestRecord:
    return made_record(status=code, outcome=Outcome.HTTP_ERROR, error="said")


class Server:
    """Answers each body by a rule, and records the ids of the requests, without their common prefix."""

    def __init__(self, rule: Callable[[dict[str, Any]], RequestRecord]) -> None:
        self._rule = rule
        self.asked: list[str] = []

    def start(self, request: Any, intended_ns: int, eligible_ns: int, done: Callable[[RequestRecord], None]) -> None:
        self.asked.append(request.id.removeprefix("probe-r-"))
        done(self._rule(orjson.loads(request.body)))


def probed(
    rule: Callable[[dict[str, Any]], RequestRecord],
    samples: Sequence[Sample] = (HELLO,),
    classes: Sequence[str] = (),
    listed: Sequence[str] | None = None,
    may_start: bool = False,
    **options: Any,
) -> tuple[ProbeResult | str, list[str]]:
    """The result, or the sentence of the error; and the requests."""
    server = Server(rule)
    asked = AskedServer("http://h/v1/chat/completions", listed, authorized=False, may_start=lambda record: may_start)
    of = BodyOptions(**{"endpoint": "chat", "model": "m", **options})

    async def main(loop: VirtualTimeLoop) -> ProbeResult | str:
        try:
            return await probe(server, LoopClock(), of, run_id="r", server=asked, samples=samples, classes=classes)  # type: ignore[arg-type]
        except TargetError as e:
            return str(e)

    return run_virtual(main), server.asked


def refusing(*options: str, code: int = 400) -> Callable[[dict[str, Any]], RequestRecord]:
    return lambda body: status(code) if any(option in body for option in options) else OK


def refused(option: str, code: int = 400) -> str:
    return f"the server refuses {option} (status {code}): the run goes without it"


@pytest.mark.parametrize(
    ("rule", "options", "taken", "notes", "asked"),
    [
        (refusing(), {"ignore_eos": True}, (True, True), (), ["0"]),
        (refusing("stream_options"), {}, (False, False), (refused("stream_options"),), ["0", "1"]),
        (refusing("ignore_eos", code=422), {"ignore_eos": True}, (True, False), (refused("ignore_eos", 422),),
         ["0", "1", "2"]),
        (refusing("stream_options", "ignore_eos"), {"ignore_eos": True}, (False, False),
         (refused("stream_options and ignore_eos"),), ["0", "1", "2", "3"]),
        # A reply that is not a stream has usage by default, so there is only one option to leave out.
        (refusing("ignore_eos"), {"ignore_eos": True, "stream": False}, (True, False), (refused("ignore_eos"),), ["0", "1"]),
    ],
)  # fmt: skip
def test_an_option_that_a_server_refuses_is_left_out(
    rule: Callable[[dict[str, Any]], RequestRecord], options: dict[str, Any], taken: tuple[bool, bool],
    notes: tuple[str, ...], asked: list[str],
) -> None:  # fmt: skip
    found, ids = probed(rule, **options)
    assert isinstance(found, ProbeResult)
    assert (found.options.ask_usage, found.options.ignore_eos) == taken
    assert (found.notes, found.is_ready, ids) == (notes, True, asked)


@pytest.mark.parametrize(("code", "asked"), [(400, 4), (422, 4), (401, 1), (404, 1), (500, 1)])
def test_only_a_status_that_blames_the_body_is_tried_without_options(code: int, asked: int) -> None:
    found, ids = probed(lambda body: status(code), ignore_eos=True)
    assert isinstance(found, str)
    assert (f"status {code}" in found, len(ids)) == (True, asked)


@pytest.mark.parametrize(
    ("record", "why"),
    [(status(503), "status 503"), (made_record(outcome=Outcome.CONNECT_ERROR, error="no route"), "no route")],
)
def test_a_server_that_is_not_ready_may_get_its_load_all_the_same(record: RequestRecord, why: str) -> None:
    found, _ = probed(lambda body: record, may_start=True, samples=(HELLO, HELLO))
    assert isinstance(found, ProbeResult)
    assert (found.is_ready, found.record) == (False, record)
    assert found.notes == (f"the probe found no server that is ready ({why}): the load is sent",)


def test_more_tokens_are_asked_for_until_a_reply_has_text() -> None:
    found, ids = probed(lambda body: OK if body["max_tokens"] > 200 else EMPTY)
    assert isinstance(found, ProbeResult)
    assert found.notes == (
        "the first 4 tokens of a reply have no text: the probe asked for 256 tokens to see some",
    )  # fmt: skip
    assert ids == ["0", "more-32", "more-256"]
    found, ids = probed(lambda body: EMPTY)
    assert (isinstance(found, str), ids) == (True, ["0", "more-32", "more-256", "more-2048"])


@pytest.mark.parametrize(("tokens", "source", "asked"), [(3, "usage", 1), (4, "usage", 4), (3, "chunks", 4)])
def test_a_reply_that_ended_before_its_limit_is_not_asked_for_more(tokens: int, source: str, asked: int) -> None:
    ended = made_record(outcome=Outcome.NO_TOKENS, status=200, chunks_ms=(), n=tokens, output_tokens_from=source)
    _, ids = probed(lambda body: ended if body["max_tokens"] == 4 else EMPTY)
    assert len(ids) == asked


def test_a_body_of_the_data_keeps_its_limit() -> None:
    body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5}
    _, ids = probed(lambda body: EMPTY, samples=(Sample(body=body, output_tokens=5),))
    assert ids == ["0"]


def test_what_the_report_must_say_of_the_server_is_noted() -> None:
    counted = made_record(output_tokens_from="tokenizer")
    without = ("the reply to the probe has no usage: output tokens of such replies are counted by the client",)
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, without),
        ({"stream": False}, ()),
        ({"ask_usage": False}, ()),
    ]
    for options, notes in cases:
        found, _ = probed(lambda body: counted, **options)
        assert isinstance(found, ProbeResult)
        assert found.notes == notes
    impossible = made_record(output_tokens_from="chunks", usage_contradiction="usage says 0")
    found, _ = probed(lambda body: impossible)
    assert isinstance(found, ProbeResult)
    assert found.notes == (
        "the reply to the probe has an impossible usage (usage says 0): output tokens of such replies are counted by the "
        "client",
    )
    samples = (HELLO, Sample(prompt="a", model="x"), Sample(prompt="b", model="other"))
    found, _ = probed(lambda body: made_record(model=body["model"]), samples, listed=["other"])
    assert isinstance(found, ProbeResult)
    assert [note.partition(":")[0] for note in found.notes] == [
        "the server answers for models 'm', 'x', but lists only other"
    ]


@pytest.mark.parametrize(
    ("second", "classes", "begins"),
    [
        (Sample(prompt="a", model="x"), (), "model x: "),
        (Sample(prompt="a", model="x", endpoint="completions"), (), "endpoint completions, model x: "),
        (Sample(prompt="a", model="x"), ("first", "second"), "class second, model x: "),
        (Sample(body={"messages": [], "model": "x"}), (), "model x: "),
    ],
)
def test_a_request_of_several_that_fails_is_named(second: Sample, classes: tuple[str, ...], begins: str) -> None:
    found, ids = probed(
        lambda body: status(404) if body.get("model") == "x" else OK, (HELLO, second), classes, keep_models=True
    )
    assert str(found).startswith(begins)
    assert ids == ["0", "of-1"]
    if classes:
        found, _ = probed(lambda body: status(404), (HELLO, second), classes)
        assert str(found).startswith("class first: ")


def test_the_reply_to_a_probe_is_checked_for_as_many_inputs_as_it_asks_for() -> None:
    batches: list[InputBatch | None] = []

    class Noting(Server):
        def start(self, request: Any, *rest: Any) -> None:
            batches.append(request.batch)
            super().start(request, *rest)

    async def main(loop: VirtualTimeLoop) -> RequestRecord:
        options = BodyOptions(endpoint="images", model="m", extra={"n": 2})
        return await ask(Noting(refusing()), LoopClock(), HELLO, options, "probe-r-0", None)  # type: ignore[arg-type]

    run_virtual(main)
    assert batches == [InputBatch(2, 2)]
