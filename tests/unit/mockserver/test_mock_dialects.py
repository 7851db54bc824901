"""Every fault in the dialects of Messages and Responses, on paper: the events, their letters and tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Block, FinishReason, ToolCall
from mockserver.dialect.messages import MESSAGES, MessagesFrames
from mockserver.dialect.params import RequestParams
from mockserver.dialect.responses import RESPONSES, ResponsesFrames
from mockserver.faults import FAULTS
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, writer_of
from mockserver.replies.content import Choice
from mockserver.replies.reply import Reply
from mockserver.tokencount import known_count
from tests.support.played_reply import MS, Played

BOTH = pytest.mark.parametrize("endpoint", [MESSAGES, RESPONSES], ids=["messages", "responses"])
OPENS = {"/v1/messages": "r", "/v1/responses": "oo"}
BLOCK = {"/v1/messages": ("o", "o"), "/v1/responses": ("oo", "ooo")}
END = {"/v1/messages": "uo", "/v1/responses": "u"}


def played(endpoint: Endpoint, faults: str = "none", **more: Any) -> Played:
    return Played(faults, endpoint, usage=True, continuous=endpoint is MESSAGES, **more)


def events(reply: Played) -> list[tuple[str, dict[str, Any]]]:
    """The name and the data of each complete, readable event."""
    found = []
    for block in b"".join(reply.writes).decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            data = json.loads(fields["data"])
            assert data["type"] == fields["event"]
            found.append((fields["event"], data))
    return found


def plain(endpoint: Endpoint, content: str = "cccc") -> str:
    opens, closes = BLOCK[endpoint.path]
    return OPENS[endpoint.path] + opens + content + closes + END[endpoint.path]


@BOTH
def test_an_ordinary_stream_has_a_token_a_delta_and_says_its_usage(endpoint: Endpoint) -> None:
    reply = played(endpoint).play()
    assert reply.kinds == plain(endpoint)
    assert [n for n, kind in zip(reply.reply.chunk_tokens, reply.kinds, strict=True) if kind == "c"] == [1] * 4
    assert sum(reply.reply.chunk_tokens) == 4
    name, last = events(reply)[-1]
    if endpoint is MESSAGES:
        assert events(reply)[-2][1]["usage"] == {"input_tokens": 5, "output_tokens": 4}
        assert name == "message_stop"
    else:
        assert last["response"]["usage"]["total_tokens"] == 9
        assert [data["sequence_number"] for _, data in events(reply)] == list(range(len(events(reply))))


@BOTH
def test_several_tokens_come_in_one_delta(endpoint: Endpoint) -> None:
    reply = played(endpoint, reasoning=2).play(3, 1)
    opens, closes = BLOCK[endpoint.path]
    signature = "o" if endpoint is MESSAGES else ""
    assert reply.kinds == f"{OPENS[endpoint.path]}{opens}t{signature}{closes}{opens}cc{closes}{END[endpoint.path]}"
    assert [n for n in reply.reply.chunk_tokens if n] == [2, 1, 1]


@BOTH
def test_tokens_whose_text_is_held_back_or_cut_off_count_with_an_event_that_comes(endpoint: Endpoint) -> None:
    held = played(endpoint, stop=("nowhere at all",)).play()
    assert (held.kinds, sum(held.reply.chunk_tokens)) == (plain(endpoint, "c"), 4)
    cut = played(endpoint, stop=("One two",)).play()
    assert (cut.kinds, sum(cut.reply.chunk_tokens)) == (plain(endpoint, ""), 2)


KINDS = {
    # The letters between the opening and the end of the block, or, after `!`, all of them.
    "stall": "cccc",
    "no_done": "cccc",
    "malformed": "ccoc",
    "role_early": "cccc",
    "role_with_token": "cccc",
    "empty": "ccocc",
    "empty:after=0,chunks=2": "oocccc",
    "duplicate": "ccccc",
    "reorder": "cccc",
    "u2028": "cccc",
    "usage_wrong": "cccc",
    "crlf": "cccc",
    "gzip": "cccc",
    "split": "cccc",
    "split_utf8": "cccc",
    "coalesce": "cccc",
    "length": "cccc",
}


@BOTH
@pytest.mark.parametrize("faults", KINDS)
def test_a_fault_keeps_the_frame_of_the_stream(endpoint: Endpoint, faults: str) -> None:
    reply = played(endpoint, faults).play()
    expected = plain(endpoint, KINDS[faults])
    if faults == "no_done":
        expected = expected[:-1]
    assert reply.kinds == expected
    assert sum(reply.reply.chunk_tokens) == (3 if faults == "malformed" else 4)
    ignored = faults in endpoint.frames.ignores  # type: ignore[attr-defined]
    assert reply.reply.writer.struck == (None if ignored else faults.partition(":")[0])


def test_a_broken_event_of_responses_is_numbered_like_the_others() -> None:
    said = b"".join(played(RESPONSES, "malformed").play().writes)
    numbers = [int(number) for number in re.findall(rb'"sequence_number":(\d+)', said)]
    assert numbers == list(range(len(numbers)))


@BOTH
def test_a_failure_in_mid_stream_is_the_end(endpoint: Endpoint) -> None:
    reply = played(endpoint, "error_in_stream").play()
    last = [(name, data) for name, data in events(reply)][-2:]
    if endpoint is MESSAGES:
        assert reply.kinds == "rocco"
        assert last[-1][1] == {
            "type": "error", "error": {"type": "overloaded_error", "message": "Overloaded (planned fault)."}
        }  # fmt: skip
    else:
        assert reply.kinds == "oooo" + "cc" + "oo"
        assert [name for name, _ in last] == ["error", "response.failed"]
        assert last[1][1]["response"]["error"]["code"] == "server_error"
    assert reply.reply.writer.failed


@BOTH
def test_usage_can_be_missing(endpoint: Endpoint) -> None:
    reply = played(endpoint, "usage_missing").play()
    assert reply.kinds == plain(endpoint).replace("u", "o")
    assert '"usage":{' not in b"".join(reply.writes).decode()
    assert reply.reply.writer.struck == "usage_missing"


def test_usage_comes_twice_where_it_is_not_the_last_event() -> None:
    assert played(MESSAGES, "usage_twice").play().kinds == plain(MESSAGES).replace("u", "uu")
    ignored = played(RESPONSES, "usage_twice").play()
    assert (ignored.kinds, ignored.reply.writer.struck) == (plain(RESPONSES), None)


@BOTH
def test_the_opening_can_be_absent(endpoint: Endpoint) -> None:
    reply = played(endpoint, "role_absent").play()
    assert reply.kinds == plain(endpoint).removeprefix(OPENS[endpoint.path])
    assert reply.reply.writer.struck == "role_absent"


def test_the_opening_comes_with_the_head_where_it_is_asked_for_or_the_api_does_so() -> None:
    assert played(MESSAGES).kinds == ""
    assert played(MESSAGES, "role_early").kinds == "r"
    assert played(RESPONSES).kinds == "oo"


def test_a_ping_is_an_event_and_a_comment_is_none() -> None:
    pings = played(MESSAGES, "comments;crlf").play()
    assert pings.kinds == "".join("o" + kind for kind in plain(MESSAGES))
    assert b"".join(pings.writes).count(b'event: ping\r\ndata: {"type":"ping"}\r\n\r\n') == len(plain(MESSAGES))
    comments = played(RESPONSES, "comments").play()
    assert comments.kinds == plain(RESPONSES)
    assert b"".join(comments.writes).count(b": comment\n\n") == len(plain(RESPONSES))


def test_pings_keep_a_quiet_stream_alive() -> None:
    reply = played(MESSAGES, "keepalive:period=5ms")
    reply.timer.move_to(11 * MS)
    assert reply.kinds == "oo"
    assert [name for name, _ in events(reply)] == ["ping", "ping"]


@BOTH
@pytest.mark.parametrize(
    "faults", ["crlf;split_utf8:after=2", "comments;split_utf8:after=2", "comments;crlf;split_utf8"]
)
def test_a_character_is_cut_after_its_first_byte(endpoint: Endpoint, faults: str) -> None:
    reply = played(endpoint, faults).play()
    cut = [said for said in reply.writes if said.endswith(b"\xe4")]
    assert len(cut) == 1
    assert reply.writes[reply.writes.index(cut[0]) + 1].startswith(b"\xb8\x96")


@BOTH
def test_half_a_delta_is_sent(endpoint: Endpoint) -> None:
    reply = played(endpoint, "cut_frame:after=1").play()
    half = reply.writes[-1]
    assert half.startswith(b"event: ")
    assert half not in b"".join(played(endpoint).play().writes).split(b"\n\n")
    assert reply.wire.said[-1] == "fin"


@BOTH
@pytest.mark.parametrize("faults", ["none", "u2028", "usage_missing", "usage_wrong", "malformed", "error_in_stream"])
def test_whole_replies(endpoint: Endpoint, faults: str) -> None:
    reply = played(endpoint, faults, stream=False, reasoning=2).play()
    (said,) = reply.wire.said
    assert isinstance(said, tuple)
    status, body = said
    assert status == (500 if faults == "error_in_stream" else 200)
    if faults == "malformed":
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        return
    row = json.loads(body)
    if faults == "error_in_stream":
        assert row["error"]["type"] == ("api_error" if endpoint is MESSAGES else "InternalServerError")
        return
    tokens = {"usage_wrong": 5, "usage_missing": None}.get(faults, 4)
    assert (row.get("usage") or {}).get("output_tokens") == tokens
    texts = [block.get("text") or block.get("thinking") for block in row["content"]] if endpoint is MESSAGES else [
        item["content"][0]["text"] for item in row["output"]
    ]  # fmt: skip
    assert texts == ["One two", " three four" + ("\u2028" if faults == "u2028" else "")]


def test_an_empty_reply_is_one_empty_text() -> None:
    reply = played(MESSAGES, stream=False, stop=("One",)).play()
    (said,) = reply.wire.said
    assert isinstance(said, tuple)
    row = json.loads(said[1])
    assert (row["content"], row["stop_reason"], row["stop_sequence"]) == (
        [{"type": "text", "text": ""}], "stop_sequence", "One",
    )  # fmt: skip


def test_separate_finish_is_openais_last_event() -> None:
    reply = played(RESPONSES, form=ReplyStyle(finish="separate")).play()
    assert events(reply)[-1][0] == "response.incomplete"


TEXT = (Path(__file__).parents[3] / "docs" / "dev" / "mock-design.md").read_text(encoding="utf-8")


def test_the_page_says_which_faults_a_dialect_ignores() -> None:
    section = TEXT[TEXT.index("## Messages and responses") : TEXT.index("## On a WebSocket")]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    named: dict[str, list[str]] = {}
    for row in rows:
        for name in re.findall(r"`(\w+)`", row[1]):
            named[name] = row[2:4]
    assert named.keys() <= FAULTS.keys()
    for column, ignores in enumerate((MessagesFrames.ignores, ResponsesFrames.ignores)):
        assert {name for name, cells in named.items() if "ignored" in cells[column]} == ignores


def of_tools(endpoint: Endpoint, stream: bool, *tokens: int) -> Played:
    """A reply of reasoning, text and two calls: the first token of a call is its name."""
    texts = ["Hm", "I", " ask", "", '{"city":', ' "Rome"}', "", "{}"]
    calls = [ToolCall("call_1", "weather"), ToolCall("call_2", "now")]
    blocks = (
        Block("reasoning", 0, 1), Block("text", 1, 3), Block("tool", 3, 6, calls[0]), Block("tool", 6, 8, calls[1])
    )  # fmt: skip
    plan = Plan(50, (20,) * 7, 8, reasoning_tokens=1, finish="stop")
    choice = Choice(plan, texts, blocks, FinishReason("tool_calls", None))
    reply = played(endpoint, stream=stream)
    params = RequestParams(stream, True, False, 8, messages=[])
    content = ReplyStyle(reasons=True).content_of(params, (choice,), endpoint, "id", 9, "m", known_count(5))
    reply.wire.said.clear()
    reply.reply = Reply(reply.wire, writer_of(content, reply.timer.now_ns), reply.timer, reply.ended.append)
    reply.reply.begin()
    return reply.play(*(tokens or (1,) * 8))


def test_tool_calls_are_blocks_of_messages() -> None:
    reply = of_tools(MESSAGES, True)
    assert reply.kinds == "r" + "otoo" + "occo" + "fffo" + "ffo" + "uo"
    assert sum(reply.reply.chunk_tokens) == 8
    said = [data for name, data in events(reply) if data.get("index") == 2]
    assert said[0]["content_block"] == {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}
    assert [row["delta"] for row in said[1:3]] == [
        {"type": "input_json_delta", "partial_json": text} for text in ('{"city":', ' "Rome"}')
    ]
    assert events(reply)[-2][1]["delta"]["stop_reason"] == "tool_use"
    (whole,) = of_tools(MESSAGES, False).wire.said
    assert isinstance(whole, tuple)
    row = json.loads(whole[1])
    assert [block["type"] for block in row["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block["input"] for block in row["content"][2:]] == [{"city": "Rome"}, {}]
    assert row["stop_reason"] == "tool_use"


def test_tool_calls_are_items_of_responses() -> None:
    reply = of_tools(RESPONSES, True)
    assert reply.kinds == "oo" + "ootooo" + "ooccooo" + "fffoo" + "ffoo" + "u"
    assert sum(reply.reply.chunk_tokens) == 8
    texts = [(name, data["text"]) for name, data in events(reply) if name.endswith("text.done")]
    assert texts == [("response.reasoning_text.done", "Hm"), ("response.output_text.done", "I ask")]
    said = [(name, data) for name, data in events(reply) if data.get("output_index") == 2]
    assert [name.removeprefix("response.") for name, _ in said] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    call = {"id": "fc_id_2", "type": "function_call", "call_id": "call_1", "name": "weather"}
    assert said[0][1]["item"] == {**call, "arguments": "", "status": "in_progress"}
    assert said[-1][1]["item"] == {**call, "arguments": '{"city": "Rome"}', "status": "completed"}
    last = events(reply)[-1][1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message", "function_call", "function_call"]
    (whole,) = of_tools(RESPONSES, False).wire.said
    assert isinstance(whole, tuple)
    assert json.loads(whole[1])["output"] == last["output"]


@BOTH
@pytest.mark.parametrize("tokens", [(8,), (4, 4), (5, 3), (2, 2, 2, 2)])
def test_calls_that_come_together_are_whole(endpoint: Endpoint, tokens: tuple[int, ...]) -> None:
    reply = of_tools(endpoint, True, *tokens)
    deltas = [
        data["delta"] for name, data in events(reply) if "arguments.delta" in name or name == "content_block_delta"
    ]
    arguments = "".join(delta if isinstance(delta, str) else delta.get("partial_json", "") for delta in deltas)
    assert arguments == '{"city": "Rome"}{}'
    assert sum(reply.reply.chunk_tokens) == 8
    # A token chunk has its own token, even if the name and the arguments of a call come together.
    kinds = zip(reply.kinds, reply.reply.chunk_tokens, strict=True)
    assert all(n > 0 for kind, n in kinds if kind in "ctf")
