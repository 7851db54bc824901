"""Changes to requests: the session in a header, a prompt as token ids, a message with media."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from bench.sources.changed import to_ids, with_media, with_session_header
from promptset.samples import Sample
from promptset.sessions import Session, Turn


def test_a_session_has_its_id_the_salt_and_which_time_it_is() -> None:
    session = Session(id="fix 1/ü", turns=(Turn(content="a"),), headers=(("x-user", "7"), ("X-Session-Id", "own")))
    change = with_session_header("X-Session-ID", "5a17", 2)
    named = [change(session, number).headers for number in (0, 1, 2, 5)]
    values = ["fix%201/%C3%BC.5a17", "fix%201/%C3%BC.5a17", "fix%201/%C3%BC.5a17.2", "fix%201/%C3%BC.5a17.3"]
    assert named == [(("x-user", "7"), ("x-session-id", value)) for value in values]
    assert with_session_header("X-S", None, None)(session, 3).headers[-1] == ("x-s", "fix%201/%C3%BC")


def test_rows_of_a_session_have_it_and_others_do_not() -> None:
    change = with_session_header("X-S", "5a17", 10)
    assert change(Sample(prompt="a", session="t"), 3).headers == (("x-s", "t.5a17"),)
    assert change(Sample(prompt="a"), 3).headers == ()


def test_a_prompt_becomes_the_ids_that_a_server_makes_of_it_and_their_number() -> None:
    def encode(text: str, *, add_special_tokens: bool) -> list[int]:
        return [1] * add_special_tokens + [*text.encode()]

    tokenizer: Any = SimpleNamespace(encode=encode)
    change = to_ids(tokenizer)
    sample = Sample(prompt="ab", input_tokens=9)
    assert change(sample, 0) == Sample(prompt="ab", prompt_ids=(1, 97, 98), input_tokens=3)
    for other in (Sample(messages=({"role": "user", "content": "a"},)), Session(id="s", turns=(Turn(content="a"),))):
        assert change(other, 0) is other


def test_media_stand_in_the_last_message_behind_its_text() -> None:
    first, second = [{"type": "image_url", "n": 1}], [{"type": "input_audio", "n": 2}]
    change = with_media([lambda number: first * number, lambda number: second])
    parts = [{"type": "text", "text": "b"}, *first, *first, *second]
    asked = ({"role": "system", "content": "a"}, {"role": "user", "content": "b"})
    assert change(Sample(prompt="b"), 2).messages == ({"role": "user", "content": parts},)
    assert change(Sample(messages=asked), 2).messages == (asked[0], {"role": "user", "content": parts})
    own = Sample(body={"prompt": "b"})
    assert change(own, 2) is own
    session = Session(id="s", turns=(Turn(content="a"),))
    assert change(session, 2) is session
