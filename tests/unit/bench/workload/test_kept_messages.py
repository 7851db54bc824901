"""Messages in many requests: the same object in all of them, and the same bytes as when encoded alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from bench.workload.kept_messages import Keeper, KeptMessage, array_of


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


class Writer:
    """An endpoint that merges successive tool results into one element, leaves system messages out, and counts its
    work."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []

    def __call__(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        self.written.append([one["content"] for one in messages])
        elements: list[Any] = []
        for at, one in enumerate(messages):
            if one["role"] == "tool":
                if at and messages[at - 1]["role"] == "tool":
                    elements[-1]["results"].append(one["content"])
                else:
                    elements.append({"results": [one["content"]]})
            elif one["role"] != "system":
                elements.append({"said": one["content"]})
        return elements


def is_tool(one: Mapping[str, Any]) -> bool:
    return bool(one["role"] == "tool")


TALK = "sabttcdtttettt"
"""s: a system message, t: the result of a tool, others: of users and assistants."""
ROLES = {"s": "system", "t": "tool"}


@pytest.mark.parametrize("talk", [TALK, "t", "tt", "s", "ss", "a", "ta", "at", "tst", ""])
@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_kept_messages_are_written_as_the_endpoint_writes_them_all_at_once(talk: str, kept: str) -> None:
    plain = [message(ROLES.get(one, "user"), f"{one}{at}") for at, one in enumerate(talk)]
    every = {"all": 1, "some": 2, "none": len(talk) + 1}[kept]
    given = [KeptMessage(one) if at % every == every - 1 else one for at, one in enumerate(plain)]
    write = Writer()
    whole = orjson.dumps(Writer()(plain))
    assert orjson.dumps(array_of(given, "chat", write, is_tool)) == whole
    assert orjson.dumps(array_of(given, "chat", write, is_tool)) == whole


def test_a_kept_message_is_written_once_for_each_form_and_those_together_each_time() -> None:
    messages = [KeptMessage(message("user", "a")), *(KeptMessage(message("tool", text)) for text in "tu")]
    write = Writer()
    for form in ("chat", "chat", "responses"):
        array_of(messages, form, write, is_tool)
    assert write.written == [["a"], ["t", "u"], ["t", "u"], ["a"], ["t", "u"]]
    assert messages[0].written == {"chat": b'{"said":"a"}', "responses": b'{"said":"a"}'}
    assert messages[1].written == {}


def test_without_a_kept_message_or_a_rule_each_is_written_as_it_is() -> None:
    plain = [message("tool", "a"), message("tool", "b")]
    write = Writer()
    assert array_of(plain, "chat", write) == [{"results": ["a", "b"]}]
    apart = array_of([KeptMessage(plain[0]), plain[1]], "chat", write)
    assert orjson.loads(orjson.dumps(apart)) == [{"results": ["a"]}, {"results": ["b"]}]


def test_a_message_that_is_carried_again_is_the_same_object() -> None:
    keeper = Keeper()
    one, two, three = message("user", "one"), message("assistant", "two"), message("user", "three")
    first = keeper.kept([one, two])
    assert first == (one, two)
    assert all(isinstance(each, KeptMessage) for each in first)
    second = keeper.kept([dict(one), dict(two), three], first)
    assert [a is b for a, b in zip(second, first, strict=False)] == [True, True]
    assert len(second) == 3
    # The message is found by its text, without an earlier request with the same beginning.
    assert keeper.kept([three, one])[0] is second[2]
    assert keeper.kept([three, one])[1] is first[0]


def test_messages_that_differ_are_different_objects_though_their_text_is_the_same_object() -> None:
    keeper = Keeper()
    text = "the same"
    user, tool, other = message("user", text), message("tool", text, tool_call_id="1"), message("tool", text)
    kept = keeper.kept([user, tool, other])
    assert kept == (user, tool, other)
    assert len({id(each) for each in kept}) == 3
    # A different message is not replaced by an earlier request's message in the same place.
    assert keeper.kept([other, tool], kept[:2]) == (other, tool)
