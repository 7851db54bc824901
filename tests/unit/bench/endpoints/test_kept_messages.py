"""Bodies joined from stored encodings equal bodies encoded as a whole, and no message is encoded twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from bench import endpoints
from bench.endpoints import chat_translation
from bench.endpoints.interface import BodyOptions
from bench.workload import kept_messages
from bench.workload.kept_messages import Keeper, KeptMessage
from promptset.samples import Sample

CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": "data:,"}}],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]},
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
    {"role": "tool", "tool_call_id": "c2", "content": "two"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": 'quotes " and \n breaks, é'},
    {"role": "assistant", "content": "An answer."},
    {"role": "system", "content": "Be longer."},
    {"role": "user", "content": "Go on"},
]
CHATS = ("chat", "messages", "responses")


def kept(messages: Sequence[Any], before: Sequence[KeptMessage]) -> tuple[KeptMessage, ...]:
    return Keeper().kept(messages, before)


def body(endpoint: str, messages: Sequence[Any]) -> bytes:
    options = BodyOptions(endpoint=endpoint, model="m", extra={"temperature": 0})
    return endpoints.encode(Sample(messages=tuple(messages), output_tokens=5), options).body


@pytest.mark.parametrize("endpoint", CHATS)
def test_a_body_of_kept_messages_is_the_same_body(endpoint: str) -> None:
    for end in range(1, len(CHAT) + 1):
        plain = body(endpoint, CHAT[:end])
        messages = kept(CHAT[:end], ())
        assert body(endpoint, messages) == plain
        assert body(endpoint, messages) == plain  # Again, now from the stored encodings.
        json.loads(plain)


@pytest.mark.parametrize("endpoint", CHATS)
def test_some_messages_may_be_kept_and_others_not(endpoint: str) -> None:
    mixed = [KeptMessage(message) if at % 2 else message for at, message in enumerate(CHAT)]
    assert body(endpoint, mixed) == body(endpoint, CHAT)


@pytest.mark.parametrize("endpoint", CHATS)
def test_a_message_is_written_once_however_many_requests_carry_it(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def counted(some: Any) -> bytes:
        if isinstance(some, list) and not isinstance(some, dict):
            written.append(len(some))
        return orjson.dumps(some)

    class Counting:
        Fragment = orjson.Fragment
        dumps = staticmethod(counted)

    monkeypatch.setattr(kept_messages, "orjson", Counting)
    said = [{"role": "user" if at % 2 == 0 else "assistant", "content": f"message {at}"} for at in range(21)]
    before: tuple[KeptMessage, ...] = ()
    for end in range(1, 22, 2):
        before = kept(said[:end], before)
        body(endpoint, before)
    assert written == [1] * 21


def test_one_endpoint_does_not_get_what_another_wrote() -> None:
    messages = kept(CHAT, ())
    bodies = {endpoint: body(endpoint, messages) for endpoint in CHATS}
    assert bodies == {endpoint: body(endpoint, CHAT) for endpoint in CHATS}


def test_only_messages_that_are_the_same_are_shared() -> None:
    first = kept([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], ())
    again = kept([{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}], first)
    assert again[0] is first[0]
    assert again[1] is not first[1]
    assert again[1] == {"role": "assistant", "content": "c"}
    assert kept([{"role": "user", "content": "a", "name": "x"}], first)[0] is not first[0]


def test_messages_with_the_same_text_are_shared_wherever_they_stand() -> None:
    text, keeper = "a text of some length", Keeper()
    first = keeper.kept([{"role": "user", "content": text}])
    again = keeper.kept([{"role": "system", "content": "s"}, {"role": "user", "content": text}])
    other = keeper.kept([{"role": "assistant", "content": text}, {"role": "user", "content": text, "name": "x"}])
    assert again[1] is first[0]
    assert other == ({"role": "assistant", "content": text}, {"role": "user", "content": text, "name": "x"})
    called: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": None},
    ]
    assert list(keeper.kept(called)) == called


def test_messages_reused_by_their_place_alone_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted defect: the text of one session appears in another one's body."""

    def by_place(messages: Sequence[Any], before: Sequence[KeptMessage]) -> tuple[KeptMessage, ...]:
        return tuple(before[at] if at < len(before) else KeptMessage(m) for at, m in enumerate(messages))

    one = kept([{"role": "user", "content": "a"}], ())
    other = [{"role": "user", "content": "of another session"}]
    assert body("chat", kept(other, one)) == body("chat", other)
    assert body("chat", by_place(other, one)) != body("chat", other)


def test_results_of_parallel_calls_stay_one_message_for_anthropic() -> None:
    _, array = chat_translation.messages_of(kept(CHAT, ()))
    results = [m for m in json.loads(orjson.dumps(array)) if isinstance(m["content"], list) and len(m["content"]) == 2]
    assert [block["tool_use_id"] for block in results[-1]["content"]] == ["c1", "c2"]
