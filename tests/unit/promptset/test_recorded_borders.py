"""Recorded sessions at their borders: where texts and messages of a prompt end, the cached part, and valid rows.

Positions are in tokens, with a layout made for this test: 4 before the first text, 6 after the last, 10 around an
answer.
"""

from __future__ import annotations

import functools
from array import array
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptset.errors import SpecError
from promptset.loaders.recorded import Call
from promptset.loaders.recordings import RECORDINGS
from promptset.rng import stream
from promptset.sentences import LEAST_TOKENS, SentenceBank
from promptset.sessions import recorded_text
from promptset.sessions.recorded import Pace, RecordedSessions, _cached, _width, is_recording
from promptset.sessions.recorded_text import Layout, SentPrefixes, SessionText, layout_of
from promptset.sharing import Path as SharedPath
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer

BEGIN, BETWEEN = ("the salt", 20), ("an answer between", 10)


@functools.cache
def tokenizer() -> Tokenizer:
    return load_tokenizer()


@functools.cache
def bank() -> SentenceBank:
    return layout_of(tokenizer()).bank


def text_of(*, between: int | None = 10, head: int = 4, key: str = "k", replay: int = 0, seed: int = 1) -> SessionText:
    return SessionText(Layout(bank(), head, 6, between), seed=seed, salt=None, key=key, replay=replay)


def count(text: str) -> int:
    return tokenizer().count_plain([text])[0]


# Places in a prompt


def test_the_layout_of_the_tokenizer_that_comes_with_it() -> None:
    layout = layout_of(tokenizer())
    around = tokenizer().count_chat([{"role": "user", "content": bank().text(30, stream(0, "x"))}]) - 30
    assert layout.head + layout.tail == around
    # The shortest prompt has a salt of 16 tokens and a text of 2.
    assert layout.least == around + 18
    answer = bank().text(2, stream(0, "x"))
    one = [{"role": "user", "content": bank().text(9, stream(1, "x"))}]
    two = [*one, {"role": "assistant", "content": answer}, {"role": "user", "content": bank().text(7, stream(2, "x"))}]
    assert layout.between == tokenizer().count_chat(two) - tokenizer().count_chat(one) - 7


def test_texts_of_which_two_are_equal_still_show_where_a_template_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_of(tokenizer())
    monkeypatch.setattr(recorded_text, "stream", lambda number, name: stream(number // 7, name))
    assert layout_of(tokenizer()) == layout


@pytest.mark.parametrize(
    ("end", "between", "messages"),
    [(300, 10, 0), (4107, 10, 0), (4108, 10, 1), (8203, 10, 1), (8204, 10, 2), (9000, 10, 2), (9000, None, 0)],
)
def test_an_answer_stands_after_each_4096_tokens_where_a_message_has_room_behind_it(
    end: int, between: int | None, messages: int
) -> None:
    said, last = text_of(between=between).prompt((), end + 6, 0)
    assert [one["role"] for one in said] == ["user", "assistant"] * messages
    texts = [one["content"] for one in said[::2]] + [last]
    # The head of 4 tokens and the tokens around an answer belong to the template.
    begins = [4, *(4096 * (number + 1) + (between or 0) for number in range(messages))]
    ends = [*(4096 * (number + 1) for number in range(messages)), end]
    assert [count(text) for text in texts] == [b - a for a, b in zip(begins, ends, strict=True)]
    assert [count(one["content"]) for one in said[1::2]] == [2] * messages


def test_with_a_long_template_the_first_message_has_room_for_a_text() -> None:
    # 4,090 tokens before the first text, so the shortest prompt has 4,114: its message ends at 8,192.
    said, _ = text_of(head=4090).prompt((), 9000, 0)
    assert [count(one["content"]) for one in said] == [8192 - 4090, 2]


@pytest.mark.parametrize(
    ("path", "end", "sent"),
    [
        ((), 300, [BEGIN]),
        ((("a", 300),), 300, [BEGIN, ("a", 280)]),
        ((("a", 20),), 300, [BEGIN]),
        ((("a", 21),), 300, [BEGIN, ("a", 1)]),
        ((("a", 15), ("b", 15), ("c", 900)), 300, [BEGIN, ("b", 10), ("c", 270)]),
        ((("a", 100),), 9000, [BEGIN, ("a", 80)]),
        ((("a", 4095),), 9000, [BEGIN, ("a", 4075)]),
        ((("a", 4096),), 9000, [BEGIN, ("a", 4076), BETWEEN]),
        ((("a", 5000),), 5000, [BEGIN, ("a", 4076), BETWEEN, ("a", 894)]),
        ((("a", 4096), ("b", 20), ("c", 884)), 5000, [BEGIN, ("a", 4076), BETWEEN, ("b", 10), ("c", 884)]),
        # A longer prompt has an answer at 4,096.
        ((("a", 4200),), 4107, [BEGIN, ("a", 4076)]),
        ((("a", 4200),), 4096, [BEGIN, ("a", 4076)]),
        ((("a", 4200),), 4095, [BEGIN, ("a", 4075)]),
        ((("a", 4200),), 4108, [BEGIN, ("a", 4076), BETWEEN, ("a", 2)]),
        ((("a", 9000),), 8200, [BEGIN, ("a", 4076), BETWEEN, ("a", 4086)]),
    ],
)
def test_what_a_cache_has_of_a_prompt(path: SharedPath, end: int, sent: list[tuple[str, int]]) -> None:
    assert [*text_of().sent(path, end + 6)] == sent


def test_a_prompt_of_one_message_is_cut_nowhere() -> None:
    assert text_of(between=None).sent((("a", 9000),), 9006) == (BEGIN, ("a", 8980))


@pytest.mark.parametrize(("tokens", "whole"), [(299, True), (300, True), (306, True), (307, False)])
def test_a_path_says_all_of_a_prompt_up_to_what_the_template_puts_behind_it(tokens: int, whole: bool) -> None:
    assert text_of().is_whole((("a", 100), ("b", 200)), tokens) is whole


def test_the_same_name_at_the_same_place_is_the_same_text_and_what_no_name_covers_is_a_prompts_own() -> None:
    made = text_of()
    path = (("a", 64), ("b", 64))
    (_, one), (_, two), (_, other) = (made.prompt(path, 200, n) for n in (0, 1, 0))
    assert one == other
    same = next(at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    assert 100 < count(one[:same]) <= 128
    # Another session shares the named texts and has its own rest. Another replay has a different salt and the same
    # rest.
    elsewhere = text_of(key="other").prompt(path, 200, 0)[1]
    assert elsewhere[:same] == one[:same]
    assert elsewhere != one
    again = text_of(replay=1).prompt(path, 200, 0)[1]
    salts = [recorded_text._salt_text(bank(), replay, 1, None) for replay in (0, 1)]
    assert [count(salt) for salt in salts] == [16, 16]
    assert (one[: len(salts[0])], again[: len(salts[1])]) == (salts[0], salts[1])
    assert one[len(salts[0]) :] == again[len(salts[1]) :]
    assert text_of(seed=2).prompt(path, 200, 0)[1][-50:] != one[-50:]


def test_messages_that_prompts_have_in_common_are_one_object() -> None:
    made = text_of()
    short, _ = made.prompt((("a", 4096), ("b", 64)), 5000, 0)
    long, _ = made.prompt((("a", 4096), ("b", 5000)), 9000, 1)
    assert short[0] is long[0]
    assert short[1] is long[1] is long[3]


def test_salts_of_a_file_are_all_different_and_those_of_another_seed_too() -> None:
    salts = {recorded_text._salt_text(bank(), replay, 1, None) for replay in range(3000)}
    assert len(salts) == 3000  # There are 1,024 first sentences.
    others = {recorded_text._salt_text(bank(), 0, seed, "x") for seed in range(300)}
    assert len(others) == 300
    assert {count(salt) for salt in islice(salts, 20)} == {16}


@pytest.mark.parametrize(
    ("start", "stop", "at", "found", "then"),
    [
        (0, 10, 0, [("a", 0, 0, 10)], 1),
        (0, 11, 0, [("a", 0, 0, 10), ("b", 10, 10, 11)], 1),
        (5, 20, 0, [("a", 0, 5, 10), ("b", 10, 10, 20)], 2),
        (10, 25, 0, [("b", 10, 10, 20), ("c", 20, 20, 25)], 2),
        (25, 30, 2, [("c", 20, 25, 30)], 3),
        (20, 30, 3, [], 3),
    ],
)
def test_the_places_between_two_tokens(
    start: int, stop: int, at: int, found: list[tuple[str, int, int, int]], then: int
) -> None:
    places = [("a", 0, 0, 10), ("b", 10, 10, 20), ("c", 20, 20, 30)]
    assert recorded_text._within(places, at, start, stop) == (tuple(found), then)


@pytest.mark.parametrize(
    ("path", "end", "places"),
    [
        ((("a", 10), ("b", 5)), 12, [("a", 0, 0, 10), ("b", 10, 10, 12)]),
        ((("a", 10),), 10, [("a", 0, 0, 10)]),
        ((("a", 10),), 11, [("a", 0, 0, 10), ("rest", 10, 10, 11)]),
        ((), 3, [("rest", 0, 0, 3)]),
    ],
)
def test_a_path_covers_a_prompt_up_to_its_end_and_the_rest_is_its_own(
    path: SharedPath, end: int, places: list[tuple[str, int, int, int]]
) -> None:
    assert recorded_text._places(path, end, "rest") == places


def test_texts_are_made_of_the_blocks_of_a_cache() -> None:
    pieces = [*recorded_text._chunks([("a", 5, 10, 40), ("b", 40, 48, 50)])]
    assert pieces == [
        (("a", 5, 11), 6), (("a", 11, 27), 16), (("a", 27, 35), 8), (("b", 8, 10), 2),
    ]  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("tokens", [1, 2, 9, 10, 11, 16])
def test_a_piece_has_exactly_its_tokens_and_begins_a_message_or_goes_on(tokens: int, first: bool) -> None:
    pieces = {recorded_text._piece(bank(), tokens, stream(seed, "piece"), first=first) for seed in range(40)}
    before = "" if first else bank().text(8, stream(0, "before"))
    assert {count(before + piece) - count(before) for piece in pieces} == {tokens}
    assert {piece.startswith(" ") for piece in pieces} == {not first}
    assert len(pieces) > 20
    assert LEAST_TOKENS == 2


def test_seen_prompts_are_known_by_the_most_that_was_sent_of_each_text() -> None:
    seen = SentPrefixes()
    seen.add((("a", 5), ("b", 2)))
    seen.add((("a", 5), ("b", 9)))
    seen.add((("a", 5), ("b", 4), ("c", 1)))
    assert seen.common((("a", 5), ("b", 20))) == 14
    assert seen.common((("a", 5), ("b", 4), ("c", 3))) == 10
    assert seen.common((("a", 5), ("b", 9), ("c", 3))) == 14
    assert seen.common((("a", 9), ("b", 9))) == 5
    assert seen.common(()) == 0
    seen.add(())
    assert seen.common((("a", 5), ("b", 20))) == 14


# What a cache contains for parallel calls


def call(at_s: float, *after: int, path: SharedPath = (("a", 500),), tokens: int = 506, **more: Any) -> Call:
    return Call(input_tokens=tokens, output_tokens=3, at_s=at_s, after=after, path=path, **more)


OWN = (("a", 100), ("b", 400))
OTHER = (("a", 100), ("c", 400))


@pytest.mark.parametrize(
    ("calls", "begun", "found"),
    [
        ((call(0), call(1, 0)), None, [0, 506]),
        # The path does not cover the whole prompt, so an equal path may belong to another prompt: only the salt and the
        # named texts are shared.
        ((call(0, path=(("a", 499),)), call(1, 0, path=(("a", 499),))), None, [0, 499]),
        ((call(0, path=OWN), call(1, 0, path=OTHER)), None, [0, 100]),
        # Two calls that begin at the same instant share nothing, but a call that waits for the other does.
        ((call(0), call(0)), None, [0, 0]),
        ((call(0), call(0, 0)), None, [0, 506]),
        ((call(0), call(0, 0), call(0, 1)), None, [0, 506, 506]),
        ((call(0, path=OWN), call(0, 0, path=OTHER), call(0, 1, path=OWN)), None, [0, 100, 506]),
        # Of two calls with the same beginning, a call shares the one that it waits for.
        ((call(0, path=OTHER), call(0, path=OWN), call(0, 1, path=OWN)), None, [0, 0, 506]),
        ((call(0, path=OWN), call(0, path=OTHER), call(0, 1, path=OWN)), None, [0, 0, 100]),
        # An earlier call is shared, even if no call waits for it.
        ((call(0), call(0.5), call(0.5)), None, [0, 506, 506]),
        # Calls count in the order of their starts, not of their rows. A call starts no sooner than those that it waits
        # for.
        ((call(1), call(0)), None, [506, 0]),
        ((call(2), call(0, 0), call(1, path=OWN)), None, [100, 506, 0]),
        # Prompts of earlier sessions.
        ((call(0), call(1, path=OTHER)), [50, 300], [50, 300]),
        ((call(0), call(1, 0, path=OTHER)), [50, 60], [50, 100]),
        # The same text with another length is a different prompt.
        ((call(0), call(1, 0, tokens=505)), None, [0, 499]),
    ],
)
def test_a_call_finds_what_had_begun_before_it(
    calls: tuple[Call, ...], begun: list[int] | None, found: list[int]
) -> None:
    given = None if begun is None else array("q", begun)
    assert _cached(calls, text_of(between=None), given) == found


@pytest.mark.parametrize(
    ("calls", "width"),
    [
        ((), 1),
        ((call(0),), 1),
        ((call(0), call(0, 0), call(0, 1)), 1),
        ((call(0), call(0, 0), call(0, 0), call(0, 1, 2)), 2),
        ((call(0), call(0, 0), call(0, 1), call(0, 0), call(0, 3), call(0, 0)), 3),
    ],
)
def test_the_width_of_a_session_is_how_many_calls_are_as_far_from_its_begin(
    calls: tuple[Call, ...], width: int
) -> None:
    assert _width(calls) == width


# Files


def weka(name: str, *lengths: int, **more: Any) -> dict[str, Any]:
    requests = [{"t": 2 * at, "type": "s", "in": n, "out": 3, "api_time": 1} for at, n in enumerate(lengths)]
    return {"id": name, "block_size": 64, "requests": requests, **more}


def rounds(session: str, *second: int, tokens: int = 80) -> list[dict[str, Any]]:
    return [
        {"session_id": session, "round_index": at, "prefix_tokens": 0, "newly_append_tokens": tokens, "output_tokens": 0,
         "timing_events": [{"event_type": "user_message", "timestamp": f"2026-03-01T10:00:{when:02d}Z"}]}
        for at, when in enumerate(second)
    ]  # fmt: skip


def span(trace: str, name: str, start: float, end: float) -> dict[str, Any]:
    values = {"gen_ai.operation.name": {"stringValue": "chat"}, "gen_ai.usage.input_tokens": {"intValue": "90"},
              "gen_ai.usage.output_tokens": {"intValue": "5"}}  # fmt: skip
    return {
        "traceId": trace, "spanId": f"{trace}-{name}", "name": name,
        "startTimeUnixNano": str(round((1000 + start) * 1e9)), "endTimeUnixNano": str(round((1000 + end) * 1e9)),
        "attributes": [{"key": key, "value": value} for key, value in values.items()],
    }  # fmt: skip


def played(folder: Path, rows: list[Any], **options: Any) -> RecordedSessions:
    path = folder / "recording.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return RecordedSessions(path, tokenizer(), **options)


def test_a_prompt_may_be_as_short_as_the_template_allows_and_as_long_as_any(tmp_path: Path) -> None:
    least = layout_of(tokenizer()).least
    session = played(tmp_path, [weka("a", least)]).session_at(0)
    assert tokenizer().count_chat(session.conversation(0)) == least
    assert len(played(tmp_path, [weka("a", 10_000_000)])) == 1
    for tokens, said in ((least - 1, "too few"), (10_000_001, "a prompt of 10,000,001 tokens is too long")):
        with pytest.raises(SpecError, match=said):
            played(tmp_path, [weka("a", 500, tokens)])


@pytest.mark.parametrize(("bad", "shown", "more"), [(19, 19, False), (20, 20, False), (21, 20, True), (30, 20, True)])
def test_twenty_wrong_rows_are_shown(bad: int, shown: int, more: bool, tmp_path: Path) -> None:
    rows = [weka("ok", 500), *[weka("", 500)] * bad]
    path = tmp_path / "recording.jsonl"
    with pytest.raises(SpecError) as refused:
        played(tmp_path, rows)
    sentences = [f"{path}, line {line}: id must be a string that is not empty" for line in range(2, shown + 2)]
    rest = f"; bad rows in all: {bad}" * more + "; correct the file, or skip such rows with --bad-rows skip"
    assert refused.value.problems == [*sentences[:-1], sentences[-1] + rest]
    skipping = played(tmp_path, rows, bad_rows="skip")
    assert (len(skipping), skipping.skipped_rows, skipping.skipped) == (1, bad, sentences)


def test_sessions_whose_rows_have_no_call_are_left_out(tmp_path: Path) -> None:
    tool = span("t2", "tool", 0, 1)
    tool["attributes"][0]["value"] = {"stringValue": "execute_tool"}
    found = played(tmp_path, [span("t1", "a", 0, 1), tool])
    assert (len(found), found.session_at(0).id, found.session_at(1).id) == (1, "t1", "t1 replay 2")


def test_the_begin_of_a_session_is_that_of_its_first_call_wherever_it_stands(tmp_path: Path) -> None:
    late, early = rounds("late", 40, 20), rounds("early", 30, 10)
    found = played(tmp_path, [late[0], early[0], early[1], late[1]], pace=Pace(by_start=True))
    assert [found.session_at(n).id for n in range(2)] == ["early", "late"]
    assert [*islice(found.begins_s(), 5)] == [0, 10, 20, 30, 40]


def test_a_single_session_begins_once_a_minute(tmp_path: Path) -> None:
    assert [*islice(played(tmp_path, rounds("a", 5)).begins_s(), 3)] == [0, 60, 120]
    assert [*islice(played(tmp_path, rounds("a", 5), pace=Pace(max_idle_s=7)).begins_s(), 3)] == [0, 60, 120]


def test_gaps_between_begins_are_cut_at_the_longest_pause(tmp_path: Path) -> None:
    rows = rounds("a", 0) + rounds("b", 10) + rounds("c", 40)
    assert [*islice(played(tmp_path, rows).begins_s(), 5)] == [0, 10, 40, 60, 70]
    assert [*islice(played(tmp_path, rows, pace=Pace(max_idle_s=10)).begins_s(), 5)] == [0, 10, 20, 30, 40]
    assert played(tmp_path, rows).untimed() is None


def test_a_session_whose_begin_is_not_known_comes_last(tmp_path: Path) -> None:
    silent = rounds("silent", 0)[0]
    del silent["timing_events"]
    found = played(tmp_path, [silent, *rounds("late", 50), *rounds("early", 3)], pace=Pace(by_start=True))
    assert [found.session_at(n).id for n in range(3)] == ["early", "late", "silent"]
    assert found.untimed() == f"{found.path} does not say it of silent"


@pytest.mark.parametrize(("alone", "at_once"), [(0, 3), (19, 3), (20, 2)])
def test_how_many_calls_run_at_once_is_taken_from_the_first_twenty_sessions(
    alone: int, at_once: int, tmp_path: Path
) -> None:
    rows = [span(f"alone{n}", "a", 0, 1) for n in range(alone)] + [span("wide", name, 0, 1) for name in "abc"]
    assert played(tmp_path, rows).at_once == at_once


def test_a_call_without_known_output_asks_for_one_token_and_pauses_are_cut_then_shortened(tmp_path: Path) -> None:
    session = played(tmp_path, rounds("a", 0, 50), pace=Pace(max_idle_s=20, speed=4)).session_at(0)
    assert [turn.output_tokens for turn in session.turns] == [1, 1]
    assert [turn.think_time_s for turn in session.turns] == [0, 5]
    assert Pace().speed == 1
    assert Pace().by_start is False


@pytest.mark.parametrize("content", [b"", b"[1]\n", b'"text"\n', b"{broken\n", b'{"prompt": "a"}\n'])
def test_what_is_no_recording(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert is_recording(path) is False
    path.write_bytes(orjson.dumps(weka("a", 500)))
    assert is_recording(path) is True


def test_prompts_that_share_nothing_share_the_salt_of_their_replay(tmp_path: Path) -> None:
    found = played(tmp_path, [weka("a", 300, 400), weka("b", 500)])
    # The 18 tokens of the template and the salt contain one block of 16. The first call of a replay has only the 2 of
    # the template.
    assert [[turn.cached_tokens for turn in found.session_at(n).turns] for n in range(4)] == [
        [0, 16],
        [16],
        [0, 16],
        [16],
    ]


def test_an_equal_prompt_is_found_but_for_its_last_block(tmp_path: Path) -> None:
    ids = [[1, 2, 3, 4, 5]] * 3
    rows = weka("a", 320, 320, 320)
    for request, names in zip(rows["requests"], ids, strict=True):
        request["hash_ids"] = names
    # 319 of 320 tokens can be cached, as the last one is always computed. So there are 19 whole blocks.
    assert [turn.cached_tokens for turn in played(tmp_path, [rows]).session_at(0).turns] == [0, 304, 304]


def test_sessions_of_a_global_scope_find_what_earlier_ones_have_sent(tmp_path: Path) -> None:
    def found(scope: str) -> list[int | None]:
        rows = [weka(name, 320, hash_id_scope=scope) for name in "ab"]
        for row in rows:
            row["requests"][0]["hash_ids"] = [1, 2, 3, 4, 5]
        file = played(tmp_path, rows)
        return [file.session_at(n).turns[0].cached_tokens for n in range(2)]

    assert found("global") == [0, 304]
    assert found("local") == [0, 16]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("", "", 0),
        ("a", "", 0),
        ("abc", "abc", 3),
        ("abc", "abcd", 3),
        ("abcd", "abxd", 2),
        ("abc", "xbc", 0),
        ("ab", "ax", 1),
    ],
)
def test_how_many_texts_two_paths_begin_with_alike(one: str, other: str, same: int) -> None:
    paths = [tuple((name, 1) for name in names) for names in (one, other)]
    assert recorded_text._same(*paths) == recorded_text._same(*reversed(paths)) == same


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"round_index": 0, "newly_append_tokens": 1}, "tracelab"),
        ({"round_index": 0, "prefix_tokens": 1}, "tracelab"),
        ({"round_index": 0}, None),
        ({"newly_append_tokens": 1, "prefix_tokens": 1}, None),
        ({"requests": [], "hash_id_scope": "local"}, "weka"),
        ({"requests": [], "block_size": 64}, "weka"),
        ({"requests": []}, None),
        ({"block_size": 64, "hash_id_scope": "local"}, None),
        ({"resourceSpans": []}, "otel"),
        ({"traceId": "a", "spanId": "b"}, "otel"),
        ({"traceId": "a"}, None),
        ({"spanId": "b"}, None),
        ({"context": {"trace_id": "a", "span_id": "b"}}, "otel"),
        ({"context": {"trace_id": "a"}}, None),
        ({"context": "a"}, None),
        ({"prompt": "a"}, None),
    ],
)
def test_a_recording_is_recognized_by_keys_that_no_other_has(row: dict[str, Any], name: str | None) -> None:
    assert [found for found, of in RECORDINGS.items() if of.recognizes(row)] == ([] if name is None else [name])
