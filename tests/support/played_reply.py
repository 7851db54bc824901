"""A reply played on paper: its wire, its timer, and the bytes of its ordinary chunks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import CHAT
from mockserver.dialect.params import RequestParams
from mockserver.faults import parse_demand
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, text_choice, writer_of
from mockserver.replies.reply import Reply
from mockserver.tokencount import TokenCount, known_count
from tests.support.paper_wire import PaperWire

PIECES = ["One", " two", " three", " four"]
MS = 1_000_000


class ByHand:
    """A timer that a test moves by hand."""

    def __init__(self) -> None:
        self.time_ns = 0
        self._calls: list[tuple[int, int, Callable[[], int | None]]] = []

    def now_ns(self) -> int:
        return self.time_ns

    def at(self, deadline_ns: int, call: Callable[[], int | None]) -> None:
        self._calls.append((deadline_ns, len(self._calls), call))

    def move_to(self, time_ns: int) -> None:
        while due := sorted(entry for entry in self._calls if entry[0] <= time_ns):
            self._calls.remove(due[0])
            self.time_ns = max(self.time_ns, due[0][0])
            due[0][2]()
        self.time_ns = time_ns


class Played:
    """A reply, its wire and its timer."""

    def __init__(
        self,
        faults: str = "none",
        endpoint: Endpoint = CHAT,
        form: ReplyStyle | None = None,
        usage: bool = False,
        continuous: bool = False,
        stop: tuple[str, ...] = (),
        keep_stop: bool = False,
        stream: bool = True,
        reasoning: int = 0,
        pieces: list[str] = PIECES,
        input_count: TokenCount | None = None,
        wire: PaperWire | None = None,
    ) -> None:
        n = len(pieces)
        params = RequestParams(stream, usage, continuous, n, prompt="x", stop=stop, keep_stop=keep_stop)
        plan = Plan(50, (20,) * (n - 1), n, parse_demand(faults), reasoning_tokens=reasoning)
        self.wire = PaperWire() if wire is None else wire
        self.timer = ByHand()
        self.ended: list[Reply] = []
        content = (ReplyStyle() if form is None else form).content_of(
            params,
            (text_choice(params, plan, pieces),),
            endpoint,
            "id",
            9,
            "m",
            known_count(5) if input_count is None else input_count,
        )
        self.tokens = content.plan.output_tokens
        self.plan = content.plan
        self.reply = Reply(self.wire, writer_of(content, self.timer.now_ns), self.timer, self.ended.append)
        self.reply.begin()

    def play(self, *tokens: int) -> Played:
        for n in tokens or (1,) * self.tokens:
            self.reply.take(n)
        assert len(self.ended) <= 1
        return self

    @property
    def kinds(self) -> str:
        return "".join(self.reply.chunk_kinds)

    @property
    def writes(self) -> list[bytes]:
        return [said for said in self.wire.said if isinstance(said, bytes)]

    @property
    def data(self) -> list[str]:
        events = b"".join(self.writes).decode().split("\n\n")[:-1]
        return [event.removeprefix("data: ") for event in events]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        chunks = [json.loads(data) for data in self.data if data != "[DONE]"]
        return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def c(text: str, finish: str = "null") -> bytes:
    """A plain content chunk as bytes."""
    stop = ',"stop_reason":null' if finish != "null" else ""
    return (
        'data: {"id":"id","object":"chat.completion.chunk","created":9,"model":"m","choices":[{"index":0,"delta":'
        f'{{"content":"{text}"}},"logprobs":null,"finish_reason":{finish}{stop}}}]}}\n\n'
    ).encode()


ROLE = c("").replace(b'{"content"', b'{"role":"assistant","content"')
USAGE = (
    b'data: {"id":"id","object":"chat.completion.chunk","created":9,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4}}\n\n'
)
ONE, TWO, THREE, FOUR = c("One"), c(" two"), c(" three"), c(" four", '"length"')
DONE = b"data: [DONE]\n\n"
BROKEN = b'data: {"id":"broken","choices":[{"index":0,"delta":{"conte\n\n'
ERROR = (
    b'data: {"error":{"message":"The engine failed while it made this reply (planned fault).",'
    b'"type":"InternalServerError","param":null,"code":500}}\n\n'
)
CUT = TWO[: len(TWO) // 2]


def halves(frame: bytes) -> list[bytes]:
    middle = -(-len(frame) // 2)
    return [frame[:middle], frame[middle:]]


def crlf(frame: bytes) -> bytes:
    return frame.replace(b"\n", b"\r\n")


def cr(frame: bytes) -> bytes:
    return frame.replace(b"\n", b"\r")
