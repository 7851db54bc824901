"""Reasoning, finish reasons and stop strings of replies, on paper."""

from __future__ import annotations

import json

import pytest

from mockserver.dialect.frames import Block
from mockserver.dialect.openai import COMPLETION
from mockserver.dialect.params import RequestParams
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, cut_at_stop, text_choice
from mockserver.tokencount import TokenCount
from tests.support.paper_wire import PaperWire
from tests.support.played_reply import MS, Played

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
        # With stop strings of one character nothing is held back.
        (["ab", "c", "d"], ["c"], False, ["ab", ""], "c"),
        (["ab", "c", "d"], ["c"], True, ["ab", "c"], "c"),
        # The last (longest - 1) characters are held back until they cannot be part of a stop string.
        (["ab", "cd", "ef", "gh"], ["xyz"], False, ["", "ab", "cd", "efgh"], None),
        (["ab", "cd", "ef", "gh"], ["xyz"], True, ["ab", "cd", "ef", "gh"], None),
        # Across tokens, and within a token.
        (["ab", "cd", "ef"], ["bc"], False, ["a", ""], "bc"),
        (["ab", "cd", "ef"], ["bc"], True, ["ab", "c"], "bc"),
        (["abcdef"], ["cd"], False, ["ab"], "cd"),
        # Among complete stop strings, the first in the list wins, not the first in the text.
        (["abcd"], ["d", "b"], False, ["abc"], "d"),
        # A stop string is found even if its beginning came many tokens ago.
        (["a", "b", "c", "d", "e"], ["bcd"], False, ["", "", "a", ""], "bcd"),
        (["aa", "aab"], ["aab"], False, ["", "aa"], "aab"),
    ],
)
def test_stop_strings_cut_as_vllm_does(
    pieces: list[str], stops: list[str], keep: bool, texts: list[str], stop: str | None
) -> None:
    assert cut_at_stop(pieces, stops, keep) == (texts, stop)


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
    # Writes 0 and 1 are the role, 2 and 3 the first token. The first piece of the second token was blocked, its last
    # piece was not.
    assert played.reply.blocked == [0]


def test_a_reply_without_tokens_is_an_empty_text_and_one_of_reasoning_has_none() -> None:
    none, thought = Plan(0, (), 0), Plan(0, (0,), 2, reasoning_tokens=2)
    assert text_choice(RequestParams(False), none, []).blocks == (Block("text", 0, 0),)
    assert text_choice(RequestParams(False, stop=("a",)), thought, ["a", "b"]).blocks == (Block("reasoning", 0, 2),)
    assert text_choice(RequestParams(False, stop=("a",)), thought, ["a", "b"]).end.stop is None
