"""Replies on a wire that only records: the order of events, and the ledger's content."""

from __future__ import annotations

import json

import pytest

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Block, FinishReason
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.params import RequestParams
from mockserver.faults import parse_demand
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, text_choice, writer_of
from mockserver.replies.content import Choice
from mockserver.replies.logprobs import Logprobs
from mockserver.replies.reply import Reply
from mockserver.rng import stream
from mockserver.tokencount import TokenCount, known_count
from tests.support.paper_wire import PaperWire
from tests.support.played_reply import PIECES, ByHand, Played


def play(
    tokens: tuple[int, ...] = (1, 1, 1, 1),
    wire: PaperWire | None = None,
    endpoint: Endpoint = CHAT,
    usage: bool = False,
    continuous: bool = False,
    input_count: TokenCount | None = None,
) -> tuple[Reply, PaperWire]:
    played = Played(endpoint=endpoint, usage=usage, continuous=continuous, input_count=input_count, wire=wire)
    for n in tokens:
        played.reply.take(n)
    assert len(played.ended) <= 1
    return played.reply, played.wire


def kinds(reply: Reply) -> str:
    return "".join(reply.chunk_kinds)


def data(wire: PaperWire) -> list[str]:
    return [said.decode().removeprefix("data: ").rstrip("\n") for said in wire.said if isinstance(said, bytes)]


def test_the_head_comes_first_and_the_role_only_with_the_first_token() -> None:
    reply, wire = play(tokens=())
    assert wire.said == ["head"]
    reply.take(1)
    assert kinds(reply) == "rc"


def test_a_chat_stream_is_role_tokens_done() -> None:
    reply, wire = play()
    assert (kinds(reply), reply.chunk_tokens) == ("rcccco", [0, 1, 1, 1, 1, 0])
    assert reply.write_ns == [1, 2, 3, 4, 5, 6]
    assert reply.end_ns == 6
    assert wire.said[-1] == "end"
    texts = [json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in data(wire)[:-1]]
    assert texts == ["", *PIECES]
    assert reply.bytes_out == sum(len(said) for said in wire.said if isinstance(said, bytes))


def test_the_finish_reason_rides_on_the_last_text() -> None:
    _, wire = play()
    reasons = [json.loads(chunk)["choices"][0]["finish_reason"] for chunk in data(wire)[:-1]]
    assert reasons == [None, None, None, None, "length"]


def test_a_completion_stream_has_no_role() -> None:
    reply, _ = play(endpoint=COMPLETION)
    assert kinds(reply) == "cccco"


def test_usage_is_a_chunk_of_its_own_behind_the_text() -> None:
    reply, wire = play(usage=True)
    assert (kinds(reply), reply.chunk_tokens[-2:]) == ("rccccuo", [0, 0])
    chunk = json.loads(data(wire)[-2])
    assert chunk["choices"] == []
    assert chunk["usage"] == {"prompt_tokens": 5, "total_tokens": 9, "completion_tokens": 4}


def test_continuous_usage_counts_up_on_every_chunk() -> None:
    _, wire = play(usage=True, continuous=True)
    usage = [json.loads(chunk)["usage"]["completion_tokens"] for chunk in data(wire)[:-1]]
    assert usage == [0, 1, 2, 3, 4, 4]


def test_several_tokens_can_share_a_chunk() -> None:
    reply, wire = play(tokens=(2, 2))
    assert (kinds(reply), reply.chunk_tokens) == ("rcco", [0, 2, 2, 0])
    assert json.loads(data(wire)[1])["choices"][0]["delta"]["content"] == "One two"


def test_usage_waits_for_a_count_that_comes_late_and_the_tokens_do_not() -> None:
    late = TokenCount()
    reply, wire = play(usage=True, input_count=late)
    assert kinds(reply) == "rcccc"
    late.settle(77)
    assert kinds(reply) == "rccccuo"
    assert json.loads(data(wire)[-2])["usage"]["prompt_tokens"] == 77


def test_chunks_that_waited_in_a_buffer_are_named() -> None:
    reply, _ = play(wire=PaperWire(frozenset({1, 5})))
    assert reply.blocked == [1, 5]


def test_a_client_that_is_gone_ends_the_reply_once_and_is_no_fault() -> None:
    played = Played()
    reply, wire = played.reply, played.wire
    reply.take(1)
    assert wire.on_lost is not None
    wire.on_lost("client_closed")
    reply.take(1)
    reply.close("shutdown")
    assert played.ended == [reply]
    assert (kinds(reply), reply.writer.struck, reply.cut) == ("rc", None, "client_closed")


@pytest.mark.parametrize("gone_after", [0, 1, 3, 5, 6])
def test_what_could_not_be_written_is_not_in_the_ledger(gone_after: int) -> None:
    reply, _ = play(usage=True, wire=PaperWire(gone_after=gone_after))
    assert kinds(reply) == "rccccuo"[:gone_after]
    assert len(reply.write_ns) == len(reply.chunk_tokens) == gone_after
    assert reply.cut == "client_closed"


@pytest.mark.parametrize("stream", [True, False])
def test_chunks_name_their_choice_where_a_stream_has_several(stream: bool) -> None:
    params = RequestParams(stream, False, False, 4, prompt="x", n=2)
    choices = (text_choice(params, Plan(50, (20,) * 3, 4), PIECES),) * 2
    content = ReplyStyle().content_of(params, choices, COMPLETION, "id", 9, "m", known_count(5))
    reply = Reply(PaperWire(), writer_of(content, ByHand().now_ns), ByHand(), lambda reply: None)
    reply.begin()
    for choice in (0, 1, 1, 1, 0, 1, 0, 0):
        reply.take_of(choice, 1)
    assert reply.chunk_choices == ([0, 1, 1, 1, 0, 1, 0, 0, None] if stream else None)


def test_a_whole_reply_is_one_body_and_no_chunk() -> None:
    played = Played(stream=False).play()
    reply = played.reply
    (response,) = played.wire.said
    assert isinstance(response, tuple)
    assert json.loads(response[1])["choices"][0]["message"]["content"] == "".join(PIECES)
    assert (reply.write_ns, kinds(reply), reply.end_ns, reply.bytes_out) == ([], "", 1, len(response[1]))


def test_what_a_choice_has_said_by_a_token_is_its_texts_and_log_probabilities_up_to_it() -> None:
    end, texts = FinishReason("length", None), ["p", "q", "a", "b", "c"]
    chances = Logprobs(0, stream(1, "logprobs", 0), lambda count, chance: [])
    blocks = (Block("reasoning", 0, 2), Block("text", 2, 5))
    choice = Choice(Plan(0, (0,) * 4, 5), texts, blocks, end, tokens=texts, logprobs=chances, echo="> ")
    for tokens, reasoning, text in ((5, "> pq", "abc"), (4, "> pq", "ab"), (2, "> pq", ""), (1, "> p", "")):
        said = choice.said(tokens)
        assert (said.text_of("reasoning"), said.text_of("text"), said.end) == (reasoning, text, end)
        assert [one.text for one in said.logprobs or ()] == [*text]
    assert choice.said(4, more="!").text_of("text") == "ab!"
    assert choice._replace(is_document=True).said(4, more="!").text_of("text") == "ab"


def test_only_pieces_of_text_have_log_probabilities() -> None:
    chances = Logprobs(0, stream(1, "logprobs", 0), lambda count, chance: [])
    blocks = (Block("reasoning", 0, 2), Block("text", 2, 4))
    choice = Choice(Plan(0, (0,) * 3, 4), ["p", "q", "a", "b"], blocks, FinishReason("length", None),
                    tokens=["p", "q", "a", "b"], logprobs=chances)  # fmt: skip
    found = [(piece.text, [one.text for one in piece.logprobs or ()]) for piece, _, _ in choice.pieces(0, 0, 4)]
    assert found == [("pq", []), ("ab", ["a", "b"])]
    assert [piece.logprobs for piece, _, _ in choice.pieces(0, 0, 1)] == [None]


def test_a_choice_of_a_reply_that_is_cut_has_ended() -> None:
    played = Played()
    played.reply.take(1)
    assert not played.reply.has_ended(0)
    played.reply.close("client_closed")
    assert (played.reply.has_ended(0), played.reply.tokens_of(0)) == (True, 1)


def test_a_choice_of_a_whole_reply_gets_no_more_tokens_than_it_has() -> None:
    params = RequestParams(False, False, False, 4, prompt="x", n=2)
    choices = (text_choice(params, Plan(50, (20,) * 3, 4), PIECES),) * 2
    content = ReplyStyle().content_of(params, choices, COMPLETION, "id", 9, "m", known_count(5))
    wire = PaperWire()
    reply = Reply(wire, writer_of(content, ByHand().now_ns), ByHand(), lambda reply: None)
    reply.begin()
    for choice, tokens, sent in ((0, 4, 4), (0, 1, 4), (1, 2, 6), (0, 1, 6)):
        reply.take_of(choice, tokens)
        assert (reply.tokens_out, wire.said) == (sent, [])
    reply.take_of(1, 2)
    ((_, body),) = wire.said
    assert [choice["text"] for choice in json.loads(body)["choices"]] == ["".join(PIECES)] * 2


@pytest.mark.parametrize("spec", ["error_in_stream", "truncate", "malformed", "u2028"])
def test_a_fault_of_a_whole_reply_waits_for_the_tokens_of_its_first_choice(spec: str) -> None:
    params = RequestParams(False, False, False, 4, prompt="x", n=2)
    choices = tuple(text_choice(params, Plan(50, (20,) * 3, 4, parse_demand(spec)), PIECES) for _ in range(2))
    content = ReplyStyle().content_of(params, choices, COMPLETION, "id", 9, "m", known_count(5))
    reply = Reply(PaperWire(), writer_of(content, ByHand().now_ns), ByHand(), lambda reply: None)
    reply.begin()
    reply.take_of(1, 4)
    assert (reply.writer.struck, reply.writer.failed, reply.writer.is_over) == (None, False, False)
    reply.take_of(0, 4)
    assert (reply.writer.struck, reply.writer.is_over) == (spec, True)


def test_a_stream_whose_usage_still_waits_is_over() -> None:
    played = Played(usage=True, input_count=TokenCount())
    played.play(1, 1, 1)
    assert not played.reply.writer.is_over
    played.play(1)
    assert played.reply.writer.is_over
    assert played.ended == []
