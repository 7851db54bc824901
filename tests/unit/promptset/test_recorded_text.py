"""The prompts of recorded sessions: exact lengths, text shared as in the recording, and what a cache would hold.

The oracle is an unlimited prefix cache over the token ids of the rendered prompts, in blocks of 16, as in vLLM.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptset.loaders.recorded import cut
from promptset.sessions import Session
from promptset.sessions.packed import pack_session, unpack_session
from promptset.sessions.recorded import RecordedSessions
from promptset.sessions.recorded_text import SALT_TOKENS, SentPrefixes, layout_of
from promptset.sharing import BLOCK
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

Tree = dict[tuple[int, ...], "Tree"]


class Cache:
    """The full blocks of all prompts requested so far, each after its predecessors."""

    def __init__(self) -> None:
        self._held: Tree = {}

    def hit(self, ids: list[int]) -> int:
        """The number of cached tokens of a prompt. Adds all of its blocks to the cache."""
        found, held = 0, self._held
        for start in range(0, len(ids) // BLOCK * BLOCK, BLOCK):
            block = tuple(ids[start : start + BLOCK])
            found += block in held  # After the first missing block, no block can be cached.
            held = held.setdefault(block, {})
        return min(found * BLOCK, (len(ids) - 1) // BLOCK * BLOCK)


def ids_of(session: Session, tokenizer: Tokenizer | None = None) -> list[list[int]]:
    known = tokenizer or load_tokenizer()
    return [known.encode_chat(session.conversation(number)) for number in range(len(session.turns))]


def assert_as_planned(sessions: list[Session], cache: Cache, tokenizer: Tokenizer | None = None) -> None:
    for session in sessions:
        ids = ids_of(session, tokenizer)
        assert [len(one) for one in ids] == [turn.input_tokens for turn in session.turns]
        assert [cache.hit(one) for one in ids] == [turn.cached_tokens for turn in session.turns], session.id


def weka(name: str, scope: str, *calls: tuple[int, list[int]], block: int = 64) -> dict[str, Any]:
    requests = [
        {"t": 2 * at, "type": "s", "in": n, "out": 3, "hash_ids": ids, "api_time": 1}
        for at, (n, ids) in enumerate(calls)
    ]
    return {"id": name, "block_size": block, "hash_id_scope": scope, "requests": requests}


def recorded(
    folder: Path, *rows: dict[str, Any], tokenizer: Tokenizer | None = None, **options: Any
) -> RecordedSessions:
    path = folder / "recording.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return RecordedSessions(path, tokenizer or load_tokenizer(), **options)


LONG = [*range(1000, 1160)]
ROWS = [
    weka("a", "local", (300, [1, 2, 3, 4]), (700, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), (320, [1, 2, 30, 31, 32]),
         (640, [*range(40, 50)]), (640, [*range(40, 50)])),
    weka("b", "local", (300, [1, 2, 3, 4]), (9000, LONG[:140]), (9400, LONG[:146]), (8250, LONG[:128])),
]  # fmt: skip


@pytest.mark.parametrize("name", ["local", "global"])
def test_a_cache_finds_what_the_hash_ids_say_in_the_first_replay_and_in_the_second(name: str, tmp_path: Path) -> None:
    played = recorded(tmp_path, *[{**row, "hash_id_scope": name} for row in ROWS])
    sessions = [played.session_at(index) for index in range(6)]
    assert_as_planned(sessions, Cache())
    first = [turn.cached_tokens for turn in sessions[0].turns]
    assert first == [0, 256, 128, 16, 624]
    assert [turn.cached_tokens for turn in sessions[1].turns] == [256 if name == "global" else 16, 16, 8960, 8192]
    # The second replay shares nothing with the first.
    assert [turn.cached_tokens for turn in sessions[2].turns] == first


def test_an_id_is_the_same_text_in_every_session_of_a_global_scope_and_in_one_session_of_a_local_one(
    tmp_path: Path,
) -> None:
    def shared(scope: str) -> int:
        rows = [weka(name, scope, (640, [7, 8, 9, own])) for own, name in enumerate("ab", 50)]
        played = recorded(tmp_path, *rows)
        (one,), (other,) = ids_of(played.session_at(0)), ids_of(played.session_at(1))
        return next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)

    assert 192 <= shared("global") < 192 + BLOCK
    assert shared("local") < 64


def test_replays_differ_in_a_salt_of_equal_length_that_a_session_has_in_every_prompt(tmp_path: Path) -> None:
    played = recorded(tmp_path, *ROWS)
    begin = layout_of(load_tokenizer()).head + SALT_TOKENS
    salts, rests = set(), set()
    for replay in range(40):
        ids = ids_of(played.session_at(replay * len(played)))
        (salt,) = {tuple(one[:begin]) for one in ids}
        salts.add(salt)
        rests.add(tuple(tuple(one[begin:]) for one in ids))
    assert len(rests) == 1
    assert len(salts) == 40


def test_a_run_has_texts_of_its_own_and_the_same_plan(tmp_path: Path) -> None:
    one, other = (recorded(tmp_path, *ROWS, salt=salt).session_at(1) for salt in ("x", "y"))
    assert one != other
    assert [turn.cached_tokens for turn in one.turns] == [turn.cached_tokens for turn in other.turns]
    assert one == recorded(tmp_path, *ROWS, salt="x").session_at(1)


def test_messages_that_prompts_have_in_common_are_held_once_and_travel_once(tmp_path: Path) -> None:
    session = recorded(tmp_path, *ROWS).session_at(1)
    for held in (session, unpack_session(pack_session(session))):
        assert held == session
        long = held.turns[1:]
        assert [len(turn.opening) for turn in long] == [4, 4, 4]
        assert long[0].opening[0] is long[1].opening[0] is long[2].opening[0]
        assert long[0].opening[2] is long[1].opening[2]
    assert (
        len(pack_session(session))
        < 1.2
        * sum(
            len(text["content"])
            for text in {id(message): message for turn in session.turns for message in turn.opening}.values()
        )
        + sum(len(turn.content) for turn in session.turns)
        + 4000
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_cache_finds_what_is_planned_of_any_ids(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    block = data.draw(st.sampled_from([16, 64, 512]))
    names = st.lists(st.integers(1, 3), max_size=12 if block < 512 else 18)
    calls = data.draw(st.lists(st.tuples(names, st.integers(0, block - 1)), min_size=1, max_size=6))
    lengths = [(max(block * len(ids) + more, 64), ids) for ids, more in calls]
    scope = data.draw(st.sampled_from(["local", "global"]))
    played = recorded(tmp_path_factory.mktemp("rows"), *[weka(one, scope, *lengths, block=block) for one in "ab"])
    assert_as_planned([played.session_at(index) for index in range(3)], Cache())


def rounds_of(splits: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"session_id": "s", "round_index": at, "prefix_tokens": prefix, "newly_append_tokens": new, "output_tokens": 1}
        for at, (prefix, new) in enumerate(splits)
    ]


LONG_HEAD = (
    "{{ bos_token }}the system of this house is to be as long as a block of a cache, and a word or two more than that\n"
    "{% for m in messages %}the next one who speaks here, and of whom more is to be said later, is the {{ m.role }}:\n"
    "{{ m.content }}{{ eos_token }}\n{% endfor %}the assistant:\n"
)
NO_SUM = (
    "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)
ROUNDS = [(0, 5000), (5000, 300), (4111, 60), (4100, 500), (4100, 4100), (8190, 30), (90, 80), (170, 40)]


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        *((kind, tiny_tokenizers.TEMPLATE) for kind in tiny_tokenizers.KINDS),
        *zip(tiny_tokenizers.KINDS, (LONG_HEAD, NO_SUM), strict=False),
    ],
    ids=[*tiny_tokenizers.KINDS, "long head", "no sum"],
)
def test_lengths_and_hits_are_exact_with_other_tokenizers_and_templates(
    kind: str, template: str, tmp_path: Path
) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.KINDS[kind](), tmp_path)
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = load_tokenizer(str(folder))
    # For the first, also the next replay, which shares nothing with this one.
    for rows, sessions in ((ROWS, 3), (rounds_of(ROUNDS), 1)):
        played = recorded(tmp_path, *rows, tokenizer=tokenizer)
        assert_as_planned([played.session_at(index) for index in range(sessions)], Cache(), tokenizer)


def test_prefixes_of_tracelab_are_cut_to_the_token(tmp_path: Path) -> None:
    splits = [(0, 5000), (5000, 300), (5300, 1), (4097, 17), (4114, 4000), (33, 100), (8000, 64), (64, 1)]
    played = recorded(tmp_path, *rounds_of(splits))
    sessions = [played.session_at(index) for index in range(2)]
    assert_as_planned(sessions, Cache())
    # The shared part is at most the previous prompt: the row states 8,000 tokens after a prompt of 133.
    held = [0, 5000, 5300, 4097, 4114, 33, 133, 64]
    for turn, tokens in zip(sessions[0].turns, held, strict=True):
        assert turn.cached_tokens is not None
        assert tokens - BLOCK - layout_of(load_tokenizer()).tail < turn.cached_tokens <= max(tokens, BLOCK)


def test_what_is_common_is_found_at_any_depth() -> None:
    seen = SentPrefixes()
    assert seen.common((("a", 5),)) == 0
    seen.add((("a", 5), ("b", 7), ("c", 1)))
    seen.add((("a", 3), ("b", 9)))
    assert seen.common((("a", 5), ("b", 7), ("c", 9))) == 13
    assert seen.common((("a", 4), ("b", 7))) == 4
    assert seen.common((("a", 5), ("b", 3), ("c", 1))) == 8
    assert seen.common((("b", 7),)) == 0


def test_a_path_is_cut_in_the_middle_of_a_name() -> None:
    assert cut((("a", 5), ("b", 5)), 7) == (("a", 5), ("b", 2))
    assert cut((("a", 5),), 9) == (("a", 5),)
    assert cut((("a", 5),), 0) == ()
