"""Sessions as graphs: what each turn waits for and continues, the content of its request, and invalid graphs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.sessions import Node, Session, Turn, load_sessions, read_session

ROOT = Path(__file__).parents[3]

ROW: dict[str, Any] = {
    "session": "fix-1",
    "system": "An agent.",
    "turns": [
        {"id": "plan", "content": "Find it.", "answer": "I search."},
        {"id": "logs", "after": ["plan"], "continues": None, "agent": "a", "content": "Logs?", "answer": "Nothing."},
        {"after": ["plan"], "continues": None, "agent": "b", "content": "Code?",
         "opening": [{"role": "system", "content": "Read."}], "answer": "Line 3."},
        {"id": "fix", "after": ["logs", "3"], "continues": "plan", "think_time_s": 0.5, "pause": "tool", "content": "So?",
         "answer": "Done.", "cached_tokens": 7},
        {"content": "Thanks. And that?", "pause": "human", "think_time_s": 9},
    ],
}  # fmt: skip


def told(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


def test_a_row_becomes_a_graph() -> None:
    session = read_session(ROW, "x")
    assert [(node.after, node.continues, node.pause, node.job) for node in session.nodes] == [
        ((), None, None, 0),
        ((0,), None, None, 0),
        ((0,), None, None, 0),
        ((1, 2), 0, "tool", 0),
        ((3,), 3, "human", 1),
    ]
    assert (session.turns[2].agent, session.turns[3].cached_tokens) == ("b", 7)


def test_the_row_of_a_graph_is_the_row_that_it_was_read_from() -> None:
    written = read_session(ROW, "x").row()
    assert read_session(written, "x") == read_session(ROW, "x")
    assert [
        {**turn, "think_time_s": 0.0} | given for turn, given in zip(written["turns"], ROW["turns"], strict=True)
    ] == (written["turns"])


def test_each_conversation_has_its_own_history() -> None:
    session = read_session(ROW, "x")
    assert told(session.conversation(1)) == ["An agent.", "Logs?"]
    assert told(session.conversation(2)) == ["Read.", "Code?"]
    assert told(session.conversation(3)) == ["An agent.", "Find it.", "I search.", "So?"]
    real = {0: "Real.", 1: "of no matter", 3: None}
    messages = session.conversation(4, real)
    assert told(messages) == ["An agent.", "Find it.", "Real.", "So?", "Done.", "Thanks. And that?"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_an_answer_that_is_not_there_is_named_with_its_turn() -> None:
    session = read_session({"turns": [{"id": "plan", "content": "a"}, {"content": "b"}]}, "s")
    with pytest.raises(
        SpecError, match=re.escape("the session s has no answer to its turn 1 (plan): give the server's")
    ):
        session.conversation(1)


def test_a_linear_session_is_the_simplest_graph() -> None:
    session = Session(id="s", turns=tuple(Turn(content=text, answer="a") for text in "xyz"))
    assert session.nodes == (
        Node(after=(), continues=None, pause=None, job=0, step=0, steps=1),
        Node(after=(0,), continues=0, pause="human", job=1, step=0, steps=1),
        Node(after=(1,), continues=1, pause="human", job=2, step=0, steps=1),
    )
    assert session.messages(["b"]) == session.conversation(1, {0: "b"})
    assert session.row()["turns"][1] == {"content": "y", "think_time_s": 0.0, "answer": "a"}


def test_going_on_with_the_turn_before_and_beginning_anew_are_two_things() -> None:
    goes_on = read_session({"turns": [{"content": "a", "answer": "b"}, {"content": "c"}]}, "s")
    anew = read_session({"turns": [{"content": "a", "answer": "b"}, {"content": "c", "continues": None}]}, "s")
    assert (told(goes_on.conversation(1)), told(anew.conversation(1))) == (["a", "b", "c"], ["c"])
    assert goes_on != anew
    assert read_session(anew.row(), "s") == anew
    waits_for_nothing = read_session(
        {"turns": [{"content": "a"}, {"content": "c", "after": [], "continues": None}]}, "s"
    )
    assert waits_for_nothing.nodes[1].after == ()
    assert read_session(waits_for_nothing.row(), "s") == waits_for_nothing


def test_jobs_begin_with_people_and_hold_what_follows() -> None:
    pauses = [None, "tool", "human", None, "tool", "human"]
    turns = tuple(Turn(content="a", pause=pause) for pause in pauses)  # type: ignore[arg-type]
    assert [node.job for node in Session(id="s", turns=turns).nodes] == [0, 0, 1, 1, 1, 2]
    said = tuple(
        dataclasses.replace(turn, job=job) for turn, job in zip(turns, [0, 4, None, None, 4, None], strict=True)
    )
    assert [node.job for node in Session(id="s", turns=said).nodes] == [0, 4, 5, 5, 4, 5]


def a(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"turns": [{"content": "x", **turn} for turn in turns]}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (a({}, {"after": ["plan"]}), "turn 2: after names 'plan', and no turn has that id: one of '1', '2'"),
        (a({"id": "p"}, {"continues": "q"}), "turn 2: continues names 'q', and no turn has that id: one of 'p', '2'"),
        (a({}, {"after": ["2"]}), "turn 2: it comes after itself: leave that out of after"),
        (
            a({}, {"after": ["3"]}, {"after": ["1"], "continues": "1"}),
            "turn 2: it comes after turn 3, which is further down: list each turn after the turns that it comes after",
        ),
        (
            a({}, {"id": "b", "after": ["c"]}, {"id": "c", "after": ["b"], "continues": "b"}),
            "turn 2 (b): it comes after turn 3 (c), which waits for this turn: neither would ever be sent",
        ),
        (
            a({}, {}, {"after": ["1"], "continues": "2"}),
            "turn 3: it continues turn 2, which need not have ended when it is sent: name it in after too, or "
            'continue a turn that has ended, or none ("continues": null)',
        ),
        (a({}, {"after": ["1"], "continues": "2"}), "turn 2: it continues turn 2, which need not have ended"),
        (a({"id": "b"}, {"id": "b"}), "turn 2 (b): turn 1 is called 'b' too: give each turn an id of its own"),
        (a({"id": "2"}, {}), "turn 2: turn 1 is called '2' too"),
        (
            a({}, {"opening": [{"role": "user", "content": "x"}]}),
            'turn 2: an opening begins a conversation, and this turn continues another: add "continues": null',
        ),
        (a({"after": "1"}), "turn 1: after must be a list of the ids of turns, such as [\"1\", \"search\"], not '1'"),
        (a({}, {"after": [1]}), 'turn 2: after must be a list of the ids of turns, such as ["1", "search"], not [1]'),
        (a({}, {"continues": 1}), "turn 2: continues must be the id of a turn, or null, not 1"),
        (a({"id": ""}), "turn 1: id must be a string that is not empty, not ''"),
        (a({"agent": None}), "turn 1: agent must be a string that is not empty, not None"),
        (a({"pause": "dog"}), "turn 1: pause must be human or tool, not 'dog'"),
        (a({}, {"think_time_s": 1e12}), "turn 2: think_time_s: 1e+12 s are more than a year: give seconds, not "
         "milliseconds or a time of day"),
        (a({"job": -1}), "turn 1: job must be a whole number from 0 on, not -1"),
        (a({"cached_tokens": True}), "turn 1: cached_tokens must be a whole number from 0 on, not True"),
        (a({"opening": [{"role": "user"}]}), "turn 1: opening: message 1 must be an object with a role and a content"),
    ],
)  # fmt: skip
def test_what_makes_no_graph_is_said_in_one_sentence(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_session(row, "s")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(sentence)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        read_session(a({"id": "b"}, {"id": "b"}, {"after": ["4"]}, {"continues": "b"}), "s")
    assert len(caught.value.problems) == 2
    with pytest.raises(SpecError) as caught:
        read_session(a({"after": ["q"]}, {"continues": "r"}), "s")
    assert len(caught.value.problems) == 2


def test_a_session_made_in_python_is_checked_too() -> None:
    with pytest.raises(SpecError, match="the session s: turn 1: after names turn 3, and there are 1"):
        Session(id="s", turns=(Turn(content="a", after=(2,)),))


def test_the_branching_session_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sessions.md").read_text(encoding="utf-8")
    block = page.partition("### Sessions that branch")[2].partition("```json\n")[2].partition("```")[0]
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps(json.loads(block)) + "\n")
    (session,) = load_sessions(path)
    assert [node.after for node in session.nodes] == [(), (0,), (0,), (1, 2)]
    assert told(session.conversation(3)) == [
        "You are an agent.",
        "Find the bug.",
        "I search the logs and the code.",
        "Logs: nothing. Code: line 3.",
    ]
