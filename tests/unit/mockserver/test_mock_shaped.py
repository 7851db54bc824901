"""Shaped replies on a wire that only writes down what it is given: the literal bytes of every fault and shape."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mockserver.dialect.openai import CHAT, COMPLETION, Endpoint, Frames, RequestParams, Usage
from mockserver.faults import FAULTS, parse_demand
from mockserver.plans.plan import Plan
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply, WholeReply
from mockserver.replies.shaped.choice import ReplyStyle, shaped_reply
from mockserver.replies.shaped.stop import cut_at_stop
from mockserver.tokencount import TokenCount, known_count
from tests.support.paper_wire import PaperWire

PIECES = ["One", " two", " three", " four"]
MS = 1_000_000


class ByHand:
    """A timer whose time a test moves."""

    def __init__(self) -> None:
        self.time_ns = 0
        self._calls: list[tuple[int, int, Callable[[], None]]] = []

    def now_ns(self) -> int:
        return self.time_ns

    def at(self, deadline_ns: int, call: Callable[[], None]) -> None:
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
        self.ended: list[ReplyWriter] = []
        content = (ReplyStyle() if form is None else form).content(
            params, plan, pieces, endpoint, "id", 9, "m", known_count(5) if input_count is None else input_count
        )
        self.tokens = content.plan.output_tokens
        self.plan = content.plan
        self.reply = shaped_reply(self.wire, content, self.timer, self.ended.append)
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
    """A plain chunk of content as bytes."""
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


def split_character() -> list[bytes]:
    frame = c(" two\u4e16")
    at = frame.index("\u4e16".encode()) + 1
    return [ROLE, ONE, frame[:at], frame[at:], THREE, FOUR, DONE, "end"]


EVENTS = (ROLE, ONE, TWO, THREE, FOUR, DONE)
COMMENT = b": comment\n\n"

# Fault -> everything that the wire was told after the head, and the chunks of the ledger: kinds and tokens.
WIRE: dict[str, tuple[list[object], str, list[int]]] = {
    "no_headers": ([], "", []),
    "reset:after=1": ([ROLE, ONE, "rst"], "rc", [0, 1]),
    "truncate:after=1": ([ROLE, ONE, "fin"], "rc", [0, 1]),
    "cut_frame:after=1": ([ROLE, ONE, CUT, "fin"], "rc", [0, 1]),
    "error_in_stream:after=1": ([ROLE, ONE, ERROR, DONE, "end"], "rcoo", [0, 1, 0, 0]),
    "no_done": ([ROLE, ONE, TWO, THREE, FOUR, "end"], "rcccc", [0, 1, 1, 1, 1]),
    "malformed:after=1": ([ROLE, ONE, BROKEN, THREE, FOUR, DONE, "end"], "rcocco", [0, 1, 0, 1, 1, 0]),
    "role_early": ([*EVENTS, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "role_with_token": (
        [ROLE.replace(b'"content":""', b'"content":"One"'), TWO, THREE, FOUR, DONE, "end"], "cccco", [1, 1, 1, 1, 0],
    ),
    "role_absent": ([ONE, TWO, THREE, FOUR, DONE, "end"], "cccco", [1, 1, 1, 1, 0]),
    "empty:after=1,chunks=2": (
        [ROLE, ONE, c(""), c(""), TWO, THREE, FOUR, DONE, "end"], "rcooccco", [0, 1, 0, 0, 1, 1, 1, 0],
    ),
    "duplicate:after=1": ([ROLE, ONE, TWO, TWO, THREE, FOUR, DONE, "end"], "rccccco", [0, 1, 1, 0, 1, 1, 0]),
    "reorder:after=1": ([ROLE, ONE, THREE, TWO, FOUR, DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "u2028:after=1": ([ROLE, ONE, c(" two\u2028"), THREE, FOUR, DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "usage_missing": ([*EVENTS, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "usage_wrong:by=3": (
        [*EVENTS[:-1], USAGE.replace(b'9,"completion_tokens":4', b'12,"completion_tokens":7'), DONE, "end"],
        "rccccuo", [0, 1, 1, 1, 1, 0, 0],
    ),
    "usage_twice": ([*EVENTS[:-1], USAGE, USAGE, DONE, "end"], "rccccuuo", [0, 1, 1, 1, 1, 0, 0, 0]),
    "crlf": ([*map(crlf, EVENTS), "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "comments": ([COMMENT + event for event in EVENTS] + ["end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "split": ([piece for event in EVENTS for piece in halves(event)] + ["end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "split_utf8:after=1": (split_character(), "rcccco", [0, 1, 1, 1, 1, 0]),
    "coalesce:chunks=4": ([ROLE + ONE + TWO + THREE, FOUR + DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
}  # fmt: skip

ELSEWHERE = {
    "400", "401", "404", "429", "500", "502", "503", "504",  # refused before there is a reply: test_mock_wire_endpoint.py
    "refuse", "slow_accept",  # connections: test_mock_outage.py
    "stall", "slow", "degrade", "pause", "length",  # in the plan: test_mock_faults.py, test_mock_plan.py
    "gzip", "keepalive", "trickle",  # below
}  # fmt: skip


def test_every_fault_has_its_bytes() -> None:
    assert {spec.partition(":")[0] for spec in WIRE} | ELSEWHERE == FAULTS.keys()


@pytest.mark.parametrize("spec", WIRE)
def test_the_bytes_of_a_fault_are_these(spec: str) -> None:
    said, kinds, tokens = WIRE[spec]
    name = spec.partition(":")[0]
    played = Played(spec, usage=name.startswith("usage")).play()
    assert played.wire.said == ([] if name == "no_headers" else ["head"]) + said
    assert (played.kinds, played.reply.chunk_tokens) == (kinds, tokens)
    assert (played.reply.struck, played.reply.bytes_out) == (name, sum(map(len, played.writes)))
    assert played.ended == ([] if name == "no_headers" else [played.reply])
    assert played.reply.failed is (name in ("reset", "truncate", "cut_frame", "error_in_stream"))
    # A chunk's stamp is that of the write which holds its last byte.
    ends, whole = [], b""
    for stamp, write in enumerate(played.writes, 1):
        before, whole = whole.count(b"\n\n") + whole.count(b"\r\n\r\n"), whole + write
        found = whole.count(b"\n\n") + whole.count(b"\r\n\r\n") - before - write.count(COMMENT)
        ends += [stamp] * found
    assert played.reply.write_ns == ends
    if played.ended:
        assert played.reply.end_ns == len(played.writes) + (name in ("reset", "truncate", "no_done"))


def test_a_role_that_comes_early_comes_before_any_token() -> None:
    assert Played("role_early").wire.said == ["head", ROLE]
    assert Played().wire.said == ["head"]


def test_the_ordinary_reply_is_the_same_to_the_byte() -> None:
    for endpoint in (CHAT, COMPLETION):
        for usage, continuous in ((False, False), (True, False), (True, True)):
            for stream, kind in ((True, StreamedReply), (False, WholeReply)):
                params = RequestParams(stream, usage, continuous, 4, prompt="x")
                plan = Plan(50, (20,) * 3, 4)
                wire = PaperWire()
                content = Content(params, plan, PIECES, b"length", Frames(endpoint, "id", 9, "m"), known_count(5))
                ordinary = kind(wire, content, lambda reply: None)
                ordinary.begin()
                shaped = Played(endpoint=endpoint, usage=usage, continuous=continuous, stream=stream)
                for tokens in (1, 2, 1):
                    ordinary.take(tokens)
                shaped.play(1, 2, 1)
                assert shaped.wire.said == wire.said
                for name in ("write_ns", "chunk_tokens", "chunk_kinds", "end_ns", "bytes_out", "tokens_out", "status"):
                    assert getattr(shaped.reply, name) == getattr(ordinary, name), name


# ---- Compressed, slowly, in between ------------------------------------------------------------------------------------


def test_gzip_is_flushed_with_each_chunk_and_says_so_in_the_head() -> None:
    played = Played("gzip").play()
    assert played.wire.headers == (("content-encoding", "gzip"),)
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert [unpack.decompress(write) for write in played.writes] == list(EVENTS)
    assert unpack.eof
    assert played.reply.bytes_out == sum(map(len, played.writes)) != sum(map(len, EVENTS))
    assert (played.kinds, played.reply.write_ns) == ("rcccco", [1, 2, 3, 4, 5, 6])


def test_gzip_ends_well_without_done() -> None:
    played = Played("gzip;no_done").play()
    assert gzip.decompress(b"".join(played.writes)) == b"".join(EVENTS[:-1])


def test_a_trickle_leaves_a_gap_between_two_writes_and_the_last_piece_has_the_stamp() -> None:
    played = Played("trickle:pieces=2,gap=2ms", endpoint=COMPLETION)
    played.play(1)
    assert (len(played.writes), played.kinds) == (1, "")
    played.timer.move_to(2 * MS - 1)
    assert len(played.writes) == 1
    played.timer.move_to(2 * MS)
    assert (len(played.writes), played.kinds, played.reply.write_ns) == (2, "c", [2])
    played.timer.move_to(10 * MS)
    played.play(1, 1, 1)  # All at once: each waits for the one before it.
    assert len(played.writes) == 3
    played.timer.move_to(10 * MS + 7 * 2 * MS - 1)
    assert (played.kinds, played.ended) == ("cccc", [])
    played.timer.move_to(10 * MS + 7 * 2 * MS)
    assert (played.kinds, played.ended, played.wire.said[-1]) == ("cccco", [played.reply], "end")
    assert played.reply.struck == "trickle"


def test_what_trickles_is_dropped_by_a_reset() -> None:
    played = Played("trickle;reset:after=1", endpoint=COMPLETION).play(1, 1)
    assert (played.wire.said[-1], played.kinds, len(played.writes)) == ("rst", "", 1)
    played.timer.move_to(100 * MS)
    assert len(played.writes) == 1
    assert played.reply.bytes_out == len(played.writes[0])


def test_comments_keep_a_quiet_stream_alive_and_a_busy_one_needs_none() -> None:
    played = Played("keepalive:period=10ms")
    played.timer.move_to(25 * MS)
    assert played.writes == [b": keep-alive\n\n"] * 2
    assert played.reply.struck == "keepalive"
    played.wire.said.clear()
    for at in range(30, 60, 5):
        played.timer.move_to(at * MS)
        played.reply._out.last_ns = at * MS  # type: ignore[attr-defined]  # PaperWire's stamps are no times.
    assert played.writes == [b": keep-alive\n\n"]  # At 30, 10 ms after the last one.
    before = played.reply.bytes_out
    played.play()
    said = len(played.wire.said)
    played.timer.move_to(1000 * MS)
    assert len(played.wire.said) == said
    assert (before, played.kinds) == (3 * 14, "rcccco")


def test_a_reply_without_a_head_waits_for_the_client_or_for_its_end() -> None:
    waits = Played("no_headers").play()
    assert (waits.reply.status, waits.reply.struck, waits.wire.said) == (None, "no_headers", [])
    assert waits.wire.on_lost is not None
    waits.wire.on_lost("client_closed")
    assert (waits.ended, waits.reply.cut) == ([waits.reply], "client_closed")
    closes = Played("no_headers:for=5ms", stream=False).play()
    closes.timer.move_to(5 * MS)
    assert (closes.wire.said, closes.ended, closes.reply.failed) == (["fin"], [closes.reply], True)


# ---- Together ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kinds", "struck"),
    [
        ("crlf;reset:after=1", "rc", "crlf+reset"),
        ("malformed:after=1;error_in_stream:after=3", "rcocoo", "malformed+error_in_stream"),
        ("malformed:after=3;reset:after=1", "rc", "reset"),
        ("duplicate:after=2;empty:after=0;usage_twice", "roccccco", "duplicate+empty"),
        ("role_with_token;empty:after=0", "rcccco", "role_with_token+empty"),
        ("reorder:after=1;duplicate:after=2", "rccccco", "reorder+duplicate"),
        ("stall;length;comments;split", "rcccco", "stall+length+comments+split"),
        ("slow;coalesce:chunks=3;truncate:after=3", "rcc", "slow+coalesce+truncate"),
    ],
)
def test_faults_combine(faults: str, kinds: str, struck: str) -> None:
    played = Played(faults).play()
    assert (played.kinds, played.reply.struck) == (kinds, struck)
    assert played.ended == [played.reply]


@pytest.mark.parametrize("faults", ["usage_twice", "usage_wrong", "usage_missing", "reorder:after=3", "keepalive"])
def test_what_finds_nothing_to_do_has_not_struck(faults: str) -> None:
    played = Played(faults).play()
    if faults.startswith("reorder"):
        assert played.kinds == "rcccco"
    assert played.reply.struck is None


def test_the_last_two_change_places_where_there_is_no_later_one() -> None:
    assert Played("reorder:after=2").play().writes[3:5] == [FOUR, THREE]
    assert Played("reorder").play(4).kinds == "rco"


def test_a_character_is_cut_with_other_line_ends_and_comments_too() -> None:
    played = Played("split_utf8:after=0;crlf;comments").play()
    first = played.writes[1]
    assert first.startswith(crlf(COMMENT))
    assert first.endswith("\u4e16".encode()[:1])


# ---- Whole replies -----------------------------------------------------------------------------------------------------

BODY = (
    b'{"id":"id","object":"chat.completion","created":9,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"One two three four"},"logprobs":null,"finish_reason":"length","stop_reason":null}],'
    b'"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4}}'
)

WHOLE: dict[str, tuple[list[object], int | None]] = {
    "reset:after=1": (["rst"], None),
    "truncate:after=1": ([(200, b""), "fin"], 200),
    "cut_frame": ([(200, b'{"id'), "fin"], 200),
    "error_in_stream": ([(500, ERROR[6:-2])], 500),
    "malformed": ([(200, BODY[: len(BODY) // 2])], 200),
    "usage_missing": ([(200, BODY[: BODY.index(b',"usage"')] + b"}")], 200),
    "usage_wrong": ([(200, BODY.replace(b'9,"completion_tokens":4', b'10,"completion_tokens":5'))], 200),
    "u2028:after=0": ([(200, BODY.replace(b"four", "four\u2028".encode()))], 200),
    "stall": ([(200, BODY)], 200),
}


@pytest.mark.parametrize("spec", WHOLE)
def test_the_bytes_of_a_whole_reply_with_a_fault_are_these(spec: str) -> None:
    said, status = WHOLE[spec]
    played = Played(spec, stream=False).play()
    name = spec.partition(":")[0]
    if name == "cut_frame":
        ((sent, part), end) = played.wire.said
        assert (sent, end) == (200, "fin")
        assert BODY.startswith(part)
        assert 0 < len(part) < len(BODY)
        assert played.reply.bytes_out == len(part)
    else:
        assert played.wire.said == said
        assert played.reply.bytes_out == sum(len(body) for _, body in (s for s in said if isinstance(s, tuple)))
    assert (played.reply.status, played.reply.struck, played.kinds, played.ended) == (status, name, "", [played.reply])


def test_a_whole_reply_can_be_compressed() -> None:
    played = Played("gzip", stream=False).play()
    ((status, body),) = played.wire.said
    assert (status, gzip.decompress(body), played.wire.headers) == (200, BODY, (("content-encoding", "gzip"),))
    assert played.reply.bytes_out == len(body)


FOR_STREAMS = (
    "no_done", "role_early", "role_with_token", "role_absent", "empty", "duplicate", "reorder", "usage_twice", "crlf",
    "comments", "keepalive", "split", "split_utf8", "trickle", "coalesce",
)  # fmt: skip


@pytest.mark.parametrize("spec", FOR_STREAMS)
def test_what_is_for_streams_leaves_a_whole_reply_alone(spec: str) -> None:
    played = Played(spec, stream=False, usage=False).play()
    assert (played.wire.said, played.reply.struck) == ([(200, BODY)], None)


# ---- Reasoning, finish, stop -------------------------------------------------------------------------------------------

REASONS = ReplyStyle(reasons=True)


def test_reasoning_comes_first_and_usage_counts_it() -> None:
    played = Played(form=REASONS, reasoning=2, usage=True, continuous=True).play()
    assert (played.kinds, played.reply.chunk_tokens) == ("rttccuo", [0, 1, 1, 1, 1, 0, 0])
    assert played.deltas == [
        {"role": "assistant", "content": ""}, {"reasoning": "One"}, {"reasoning": " two"},
        {"content": " three"}, {"content": " four"},
    ]  # fmt: skip
    said = [json.loads(data)["usage"] for data in played.data[:-1]]
    assert [u["completion_tokens_details"]["reasoning_tokens"] for u in said] == [0, 1, 2, 2, 2, 2]
    assert said[-1]["completion_tokens"] == 4


def test_the_older_name_of_reasoning_can_be_had() -> None:
    played = Played(form=ReplyStyle(reasons=True, reasoning_field="reasoning_content"), reasoning=1).play()
    assert played.deltas[1] == {"reasoning_content": "One"}


def test_a_step_over_the_border_gives_two_chunks() -> None:
    played = Played(form=REASONS, reasoning=1).play(4)
    assert (played.kinds, played.reply.chunk_tokens) == ("rtco", [0, 1, 3, 0])


def test_a_reply_may_be_nothing_but_reasoning() -> None:
    played = Played(form=REASONS, reasoning=4).play()
    assert played.kinds == "rtttto"
    assert json.loads(played.data[4])["choices"][0]["finish_reason"] == "length"


def test_a_whole_reply_has_its_reasoning_apart() -> None:
    played = Played(form=REASONS, reasoning=2, stream=False).play()
    ((_, body),) = played.wire.said
    said = json.loads(body)
    assert said["choices"][0]["message"] == {"role": "assistant", "content": " three four", "reasoning": "One two"}
    assert said["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_the_finish_reason_can_have_a_chunk_of_its_own() -> None:
    played = Played(form=ReplyStyle(finish="separate"), usage=True).play()
    assert (played.kinds, played.reply.chunk_tokens) == ("rccccouo", [0, 1, 1, 1, 1, 0, 0, 0])
    reasons = [json.loads(data)["choices"][0]["finish_reason"] for data in played.data[:6]]
    assert reasons == [None, None, None, None, None, "length"]
    assert played.deltas[-1] == {}
    assert Played(endpoint=COMPLETION, form=ReplyStyle(finish="separate")).play().kinds == "ccccoo"


@pytest.mark.parametrize(
    ("pieces", "stops", "keep", "texts", "stop"),
    [
        # Of one character nothing is held back.
        (["ab", "c", "d"], ["c"], False, ["ab", ""], "c"),
        (["ab", "c", "d"], ["c"], True, ["ab", "c"], "c"),
        # The last (longest - 1) characters are held back until they can be no part of a stop string.
        (["ab", "cd", "ef", "gh"], ["xyz"], False, ["", "ab", "cd", "efgh"], None),
        (["ab", "cd", "ef", "gh"], ["xyz"], True, ["ab", "cd", "ef", "gh"], None),
        # Over the border of tokens, and in the midst of one.
        (["ab", "cd", "ef"], ["bc"], False, ["a", ""], "bc"),
        (["ab", "cd", "ef"], ["bc"], True, ["ab", "c"], "bc"),
        (["abcdef"], ["cd"], False, ["ab"], "cd"),
        # The first in the list wins among those that are complete, not the first in the text.
        (["abcd"], ["d", "b"], False, ["abc"], "d"),
        # One that came up is found though its beginning is long gone.
        (["a", "b", "c", "d", "e"], ["bcd"], False, ["", "", "a", ""], "bcd"),
        (["aa", "aab"], ["aab"], False, ["", "aa"], "aab"),
    ],
)
def test_stop_strings_cut_as_vllm_does(
    pieces: list[str], stops: list[str], keep: bool, texts: list[str], stop: str | None
) -> None:
    cut = cut_at_stop(pieces, stops, keep)
    assert (cut.texts, cut.stop) == (texts, stop)


def test_a_stop_string_ends_the_reply_and_its_tokens_count() -> None:
    played = Played(stop=(" three",), usage=True).play()
    assert (played.plan.output_tokens, played.plan.gaps_ns, played.plan.finish) == (3, (20, 20), "stop")
    # " three" has six characters: five are held back.
    assert [delta.get("content") for delta in played.deltas] == ["", "", "One"[:2], "e two"]
    assert (played.kinds, played.reply.chunk_tokens) == ("roccuo", [0, 0, 2, 1, 0, 0])
    last = json.loads(played.data[-3])["choices"][0]
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", " three")
    assert json.loads(played.data[-2])["usage"]["completion_tokens"] == 3


def test_tokens_whose_text_never_comes_stand_at_the_last_chunk() -> None:
    played = Played(stop=("One two",)).play()
    assert (played.kinds, played.reply.chunk_tokens) == ("rooo", [0, 0, 2, 0])
    assert sum(played.reply.chunk_tokens) == played.plan.output_tokens == 2


def test_a_stop_string_is_looked_for_in_the_answer_alone() -> None:
    played = Played(stop=("e",), form=REASONS, reasoning=1).play()
    assert (played.kinds, played.plan.output_tokens) == ("rtcco", 3)
    assert played.deltas[1:] == [{"reasoning": "One"}, {"content": " two"}, {"content": " thr"}]
    whole = Played(stop=(" three",), stream=False).play()
    ((_, body),) = whole.wire.said
    choice = json.loads(body)["choices"][0]
    assert (choice["message"]["content"], choice["stop_reason"]) == ("One two", " three")


def test_usage_waits_for_a_count_that_comes_late() -> None:
    late = TokenCount()
    played = Played(usage=True, input_count=late).play()
    assert played.kinds == "rcccc"
    late.settle(77)
    assert played.kinds == "rccccuo"
    assert json.loads(played.data[-2])["usage"]["prompt_tokens"] == 77


def test_a_client_that_is_gone_ends_the_reply_once() -> None:
    for faults in ("split", "trickle:gap=1ms", "coalesce:chunks=3", "gzip"):
        played = Played(faults, wire=PaperWire(gone_after=3))
        played.reply.take(1)
        played.timer.move_to(5 * MS)
        played.play(1, 1, 1)
        played.timer.move_to(500 * MS)
        assert (len(played.writes), played.reply.cut) == (3, "client_closed") or faults.startswith("coalesce")
        assert played.ended == [played.reply]


def test_chunks_that_waited_in_a_buffer_are_named() -> None:
    played = Played("split", wire=PaperWire(frozenset({1, 4}))).play()
    # Writes 0 and 1 are the role, 2 and 3 the first token: the first piece of the second token waited, its last did not.
    assert played.reply.blocked == [0]


def test_an_ordinary_request_is_not_shaped() -> None:
    params, plan = RequestParams(True, True, True, 4, prompt="x"), Plan(50, (), 1)
    assert not ReplyStyle().shapes(params, plan)
    assert not ReplyStyle(finish="separate").shapes(replace(params, stream=False), plan)
    for form, other, planned in (
        (ReplyStyle(reasons=True), params, plan),
        (ReplyStyle(finish="separate"), params, plan),
        (ReplyStyle(), replace(params, stop=("x",)), plan),
        (ReplyStyle(), params, replace(plan, faults=parse_demand("crlf"))),
    ):
        assert form.shapes(other, planned)


def test_both_ways_of_usage_agree() -> None:
    assert json.loads(Usage(5, 4).json()) == json.loads(USAGE[6:])["usage"]
