"""Session rows at the borders of validity, and the exact content of graphs, histories and packed sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptset.answers import Answer, ToolCall
from promptset.errors import SpecError
from promptset.sessions import BEFORE, Session, Turn, load_sessions, read_session
from promptset.sessions.history import turn_messages, with_ids
from promptset.sessions.packed import pack_session, unpack_session
from promptset.sessions.values import graph_problems, names_of

YEAR_S = 31_622_400.0
"""366 days."""


def row(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"turns": [{"content": "x", **turn} for turn in turns], **more}


def problems_of(given: object) -> list[str]:
    with pytest.raises(SpecError) as refused:
        read_session(given, "s")
    return refused.value.problems


# Rows


@pytest.mark.parametrize(
    "given",
    [
        row({"think_time_s": YEAR_S}),
        row({"think_time_s": None}),
        row({"think_time_s": 0}),
        row({"job": 0, "cached_tokens": 0}),
        row({"job": 3}, {"job": 1}),
        row({"pause": "human"}, {"pause": "tool"}),
        row({"agent": "a", "id": "b"}),
        row({"answer": ""}, {"after": [], "continues": None}),
        row({"answer_tool_calls": [{"name": "n", "arguments": "{}"}]}, {"results": ["r"]}),
        row({"answer_tool_calls": [{"name": "n", "arguments": {}, "id": ""}]}, {"results": ["r"], "content": ""}),
        row({"results": [""]}),
        row({"output_tokens": 1, "input_tokens": 1}),
        row({}, session="", system="", model="m", endpoint="chat", priority=-3, headers={"a": " b "}),
        row({"opening": [{"role": "user", "content": "a"}], "continues": None}),
        {"turns": [{"results": ["r"]}]},
        {"conversations": [{"from": "user", "value": "a"}], "turns": 7},
    ],
)
def test_a_row_that_is_right_is_read_and_written_as_the_same_session(given: dict[str, Any]) -> None:
    session = read_session(given, "s")
    assert read_session(session.row(), "s") == session
    assert unpack_session(pack_session(session)) == session
    assert all(turn.think_time_s >= 0 for turn in session.turns)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"turns": {"content": "a"}}, ["a session is an object whose turns are a list that is not empty"]),
        ("turns", ["a session is an object whose turns are a list that is not empty"]),
        (row({}, session=1, system=None), ["session must be a string", "system must be a string"]),
        (row({}, model="", priority=True), ["model must be a string that is not empty",
                                            "priority must be a whole number, not True"]),
        ({"turns": ["x", {"content": 3}, {"content": None, "results": ["r"]}, {"results": "r"}]}, [
            f"turn {n} must be an object with a content that is not empty, or with results" for n in (1, 2, 3)
        ] + ["turn 4: results must be a list of texts, one for each call, not 'r'"]),
        (row({"think_time_s": YEAR_S + 1}), [
            "turn 1: think_time_s: 3.16224e+07 s are more than a year: give seconds, not milliseconds or a time of day",
        ]),
        (row({"input_tokens": 0, "output_tokens": 0.5}), [
            "turn 1: input_tokens must be a whole number of at least 1, not 0",
            "turn 1: output_tokens must be a whole number of at least 1, not 0.5",
        ]),
        (row({"id": 3}), ["turn 1: id must be a string that is not empty, not 3"]),
        (row({"after": [1, "1"]}), ['turn 1: after must be a list of the ids of turns, such as ["1", "search"], '
                                    "not [1, '1']"]),
        (row({"continues": ["1"]}), ["turn 1: continues must be the id of a turn, or null, not ['1']"]),
        (row({"pause": None}), ["turn 1: pause must be human or tool, not None"]),
        (row({"job": 1.0, "cached_tokens": -1}), [
            "turn 1: job must be a whole number from 0 on, not 1.0",
            "turn 1: cached_tokens must be a whole number from 0 on, not -1",
        ]),
        (row({"results": ["a", 1]}), ["turn 1: results must be a list of texts, one for each call, not ['a', 1]"]),
        (row({"opening": {"role": "user"}}), ["turn 1: opening: messages must be a list that is not empty"]),
        (row({"tools": []}, tools=3), ["tools must be a list that is not empty", "turn 1: unknown key 'tools'"]),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_refused_with_all_that_is_wrong(given: object, problems: list[str]) -> None:
    assert problems_of(given) == problems


@pytest.mark.parametrize(
    "call",
    [[], "n", {"arguments": {}}, {"name": 1}, {"name": ""}, {"name": "n", "arguments": [1]}, {"name": "n", "id": 1},
     {"name": "n", "arguments": None}, {"name": "n", "type": "function"}],
)  # fmt: skip
def test_a_wrong_call_of_a_tool_is_named_by_its_place(call: object) -> None:
    assert problems_of(row({"answer_tool_calls": [{"name": "ok"}, call]})) == [
        'turn 1: answer_tool_calls: call 2 must be {"name": "...", "arguments"?: {...}, "id"?: "..."}'
    ]


def test_the_arguments_of_a_call_may_be_a_text_or_an_object() -> None:
    calls = [{"name": "a", "arguments": '{"p": 1}', "id": "i"}, {"name": "b", "arguments": {"p": [1]}}, {"name": "c"}]
    session = read_session(row({"answer_tool_calls": calls}), "s")
    assert session.turns[0].answer_tool_calls == (
        ToolCall("i", "a", '{"p": 1}'), ToolCall("", "b", '{"p":[1]}'), ToolCall("", "c", "{}"),
    )  # fmt: skip
    assert session.row()["turns"][0]["answer_tool_calls"] == [
        {"name": "a", "arguments": '{"p": 1}', "id": "i"}, {"name": "b", "arguments": '{"p":[1]}'},
        {"name": "c", "arguments": "{}"},
    ]  # fmt: skip


def test_a_name_that_no_turn_has_is_refused_with_up_to_eight_that_there_are() -> None:
    def sentence(turns: int) -> str:
        return problems_of(row(*[{} for _ in range(turns - 1)], {"after": ["x"]}))[0].partition("one of ")[2]

    assert sentence(8) == ", ".join(repr(str(n)) for n in range(1, 9))
    assert sentence(9) == ", ".join(repr(str(n)) for n in range(1, 9)) + ", ..."


def test_a_turn_is_waited_for_once_though_it_is_named_twice_and_by_its_place_where_it_has_no_name() -> None:
    session = read_session(row({"id": "a"}, {}, {"after": ["2", "a", "2"], "continues": "a"}), "s")
    assert session.turns[2].after == (1, 0)
    assert session.turns[2].continues == 0
    # "1" is not a turn's name if the first turn has its own.
    assert problems_of(row({"id": "a"}, {"after": ["1"]}))[0].startswith(
        "turn 2: after names '1', and no turn has that id"
    )


@pytest.mark.parametrize("said", [{}, "x", [["from", "value"]], [{"from": 1, "value": "a"}], [{"from": "human"}],
                                  [{"from": "human", "value": 3}], [{"value": "a"}]])  # fmt: skip
def test_a_conversation_of_sharegpt_of_another_shape_is_refused(said: object) -> None:
    assert problems_of({"conversations": said}) == [
        "conversations must be a list of objects with the strings from and value"
    ]


def test_a_conversation_of_sharegpt_has_the_answers_that_follow_at_once() -> None:
    def talk(*said: tuple[str, str]) -> Session:
        return read_session({"conversations": [{"from": who, "value": text} for who, text in said]}, "n")

    found = talk(("system", "s"), ("human", ""), ("gpt", "z"), ("user", "a"), ("assistant", "b"), ("human", "c"),
                 ("human", "d"), ("tool", "t"), ("human", "e"), ("chatgpt", ""))  # fmt: skip
    assert found.id == "n"
    assert [(turn.content, turn.answer) for turn in found.turns] == [("a", "b"), ("c", None), ("d", None), ("e", "")]
    assert problems_of({"conversations": [{"from": "human", "value": ""}]}) == [
        "the conversation has no message of a user"
    ]
    assert read_session({"id": 7, "conversations": [{"from": "human", "value": "a"}]}, "n").id == "7"


@pytest.mark.parametrize(("bad", "shown"), [(1, 1), (20, 20), (21, 20)])
def test_up_to_twenty_problems_of_a_file_are_shown(bad: int, shown: int, tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in [row({}), *[row({}, session=1)] * bad]))
    with pytest.raises(SpecError) as refused:
        load_sessions(path)
    sentences = [f"{path}, line {line}: session must be a string" for line in range(2, shown + 2)]
    assert refused.value.problems == [*sentences[:-1], sentences[-1] + "; more rows are bad" * (bad > shown)]


def test_rows_are_named_by_their_line_and_may_name_the_endpoints_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps(row({})) + "\n" + json.dumps(row({}, endpoint="messages")) + "\n")
    assert [(one.id, one.endpoint) for one in load_sessions(path)] == [("row-1", None), ("row-2", "messages")]
    assert len(load_sessions(path, ["chat", "messages"])) == 2
    with pytest.raises(SpecError) as refused:
        load_sessions(path, ["chat", "responses"])
    assert refused.value.problems == [f"{path}, line 2: endpoint 'messages' is not one of chat, responses"]
    path.write_text("\n")
    with pytest.raises(SpecError, match="has no sessions: write at least one row"):
        load_sessions(path)


# Graphs


def turn(**more: Any) -> Turn:
    return Turn(**{"content": "x", **more})


def test_the_first_turn_that_goes_on_with_another_is_on_its_line_and_later_ones_branch_off() -> None:
    turns = (
        turn(),
        turn(after=(0,), continues=0),
        turn(after=(0,), continues=0),
        turn(after=(1,), continues=1),
        turn(after=(2,), continues=2),
        turn(after=(), continues=None),
    )
    assert Session(id="s", turns=turns).lines == (
        (0, False), (0, False), (2, False), (0, True), (2, True), (5, True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("turns", "problems"),
    [
        ((turn(), turn(after=(0,), continues=1)), ["turn 2: it continues turn 2, which need not have ended"]),
        ((turn(), turn(after=(0,), continues=5)), ["turn 2: it continues turn 6, which need not have ended"]),
        ((turn(), turn(after=(0,), continues=-1)), ["turn 2: it continues turn 0, which need not have ended"]),
        ((turn(after=()), turn(after=())), ["turn 2: it continues turn 1, which need not have ended"]),
        # Waiting may be indirect: turn 3 waits for 2, which waits for 1.
        ((turn(), turn(), turn(after=(1,), continues=0)), []),
        ((turn(), turn(after=(), continues=None), turn(after=(1,), continues=0)),
         ["turn 3: it continues turn 1, which need not have ended"]),
        ((turn(), turn(after=(), continues=None), turn(after=(0, 1), continues=1)), []),
        ((turn(), turn(after=(), continues=None), turn(after=(1, 0), continues=1)), []),
        ((turn(after=(-1,)),), ["turn 1: after names turn 0, and there are 1"]),
        ((turn(after=(1,)),), ["turn 1: after names turn 2, and there are 1"]),
        # The consequence of a mistake is not reported as well.
        ((turn(), turn(), turn(after=(5, 0), continues=1)), ["turn 3: after names turn 6, and there are 3"]),
        ((turn(), turn(after=(7,)), turn(after=(1,), continues=0)), ["turn 2: after names turn 8, and there are 3"]),
        ((turn(content=""),), ["turn 1: it is empty: give it a content, or results"]),
        ((turn(content="", results=("r",)),), []),
        ((turn(opening=({"role": "user", "content": "a"},)),), []),
        ((turn(id="a"), turn(id="a"), turn(id="a")), [
            "turn 2 (a): turn 1 is called 'a' too", "turn 3 (a): turn 1 is called 'a' too",
        ]),
        ((turn(id="2"), turn()), ["turn 2: turn 1 is called '2' too"]),
        ((turn(answer_tool_calls=(ToolCall("", "t"),)), turn(results=("r",))), []),
        ((turn(answer_tool_calls=(ToolCall("", "t"),)), turn(continues=None)), []),
        ((turn(answer_tool_calls=(ToolCall("", "t"),)), turn(results=("r", "s"))),
         ["turn 2: the answer before it calls 1 tool and it has 2 results: give one for each call"]),
        ((turn(), turn(results=("r",))), []),
        # A circle of three turns, and a turn that waits for a later one.
        ((turn(after=(1,), continues=None), turn(after=(2,), continues=None), turn(after=(0,), continues=None)), [
            "turn 1: it comes after turn 2, which waits for this turn: neither would ever be sent",
            "turn 2: it comes after turn 3, which waits for this turn: neither would ever be sent",
        ]),
        ((turn(after=(1,), continues=None), turn(after=(2,), continues=None), turn(after=(), continues=None)), [
            "turn 1: it comes after turn 2, which is further down",
            "turn 2: it comes after turn 3, which is further down",
        ]),
        ((turn(after=(1,), continues=None), turn(after=(9, -4, 1), continues=None)), [
            "turn 1: it comes after turn 2, which is further down",
            "turn 2: after names turn 10, and there are 2", "turn 2: after names turn -3, and there are 2",
            "turn 2: it comes after itself",
        ]),
    ],
)  # fmt: skip
def test_what_makes_no_graph_is_named_once(turns: tuple[Turn, ...], problems: list[str]) -> None:
    found = graph_problems(turns)
    assert len(found) == len(problems)
    assert all(one.startswith(start) for one, start in zip(found, problems, strict=True)), found


def test_turns_have_their_names_or_places() -> None:
    assert names_of([turn(), turn(id="b"), turn()]) == ["1", "b", "3"]


def test_who_pauses_is_said_by_the_turns_or_follows_from_them() -> None:
    def told(*turns: Turn) -> list[tuple[str | None, int, int, int]]:
        return [(n.pause, n.job, n.step, n.steps) for n in Session(id="s", turns=turns).nodes]

    # By default: a person pauses before each later turn of the main agent, and tools before their results.
    results = turn(results=("r",))
    assert told(turn(), turn(), turn(agent="a"), results, turn()) == [
        (None, 0, 0, 1), ("human", 1, 0, 3), (None, 1, 1, 3), ("tool", 1, 2, 3), ("human", 2, 0, 1),
    ]  # fmt: skip
    assert told(turn(), turn(pause="tool"), turn(), turn(results=("r",), pause="human")) == [
        (None, 0, 0, 3), ("tool", 0, 1, 3), (None, 0, 2, 3), ("human", 1, 0, 1),
    ]  # fmt: skip
    # The first turn does not begin a second job.
    assert told(turn(pause="human"), turn(job=5), turn()) == [("human", 0, 0, 1), (None, 5, 0, 2), (None, 5, 1, 2)]


def test_a_row_leaves_out_what_is_the_default() -> None:
    session = Session(
        id="s",
        turns=(
            Turn(content="a", id="p", after=(), pause="human", job=0, agent="g", cached_tokens=0, input_tokens=5),
            Turn(results=("r",), continues=None, opening=({"role": "user", "content": "o"},), output_tokens=3),
            Turn(content="c", results=("r",), after=(0, 1), continues=0, answer=""),
        ),
        model="m",
        headers=(("a", "b"),),
        tools=({"type": "function"},),
    )
    assert session.row() == {
        "session": "s", "tools": [{"type": "function"}], "model": "m", "headers": {"a": "b"},
        "turns": [
            {"content": "a", "think_time_s": 0.0, "input_tokens": 5, "id": "p", "pause": "human", "job": 0, "agent": "g",
             "cached_tokens": 0, "after": []},
            {"output_tokens": 3, "think_time_s": 0.0, "results": ["r"], "continues": None,
             "opening": [{"role": "user", "content": "o"}]},
            {"content": "c", "think_time_s": 0.0, "answer": "", "results": ["r"], "after": ["p", "2"], "continues": "p"},
        ],
    }  # fmt: skip
    assert Turn(content="a").continues == BEFORE
    assert Session(id="s", turns=(turn(),), system="x", endpoint="chat", priority=0).row() == {
        "session": "s", "system": "x", "endpoint": "chat", "priority": 0, "turns": [{"content": "x", "think_time_s": 0.0}],
    }  # fmt: skip


# Histories


def test_an_opening_takes_the_place_of_the_system_and_its_conversation_goes_on_with_it() -> None:
    opening = ({"role": "developer", "content": "o"},)
    session = Session(
        id="s",
        system="sys",
        turns=(turn(answer="p"), turn(continues=None, opening=opening, answer="q"), turn(content="end")),
    )
    assert [m["content"] for m in session.conversation(2)] == ["o", "x", "q", "end"]
    assert session.line_to(2) == [1, 2]
    assert [session.has_answer(n) for n in range(3)] == [True, True, False]
    calls = Session(id="s", turns=(turn(answer_tool_calls=(ToolCall("", "t"),)), turn(answer="", results=("r",))))
    assert [calls.has_answer(n) for n in range(2)] == [True, True]
    assert calls.answer_to(0) == Answer(content="", tool_calls=(ToolCall("c00000000", "t"),))
    assert calls.answer_to(1, "real") == Answer(content="real")


def test_calls_without_an_id_get_one_of_nine_characters_from_their_turn_and_place() -> None:
    calls = tuple(ToolCall("mine" if number == 1 else "", "t") for number in range(102))
    found = with_ids(Answer(tool_calls=calls), 1_000_012).tool_calls
    assert [found[n].id for n in (0, 1, 2, 99, 100, 101)] == [
        "c00001200", "mine", "c00001202", "c00001299", "c00001200", "c00001201",
    ]  # fmt: skip
    named = Answer(tool_calls=(ToolCall("a", "t"),))
    assert with_ids(named, 3) is named
    assert with_ids(Answer(), 3) == Answer()


@pytest.mark.parametrize(
    ("content", "results", "calls", "said"),
    [
        ("c", (), 0, ["c"]),
        ("", ("r", "s"), 0, ["r\n\ns"]),
        ("c", ("r",), 0, ["r\n\nc"]),
        ("c", (), 3, ["0:c", "1:", "2:"]),
        ("", ("r", "s"), 3, ["0:r", "1:s", "2:r"]),
        ("c", ("r", "s"), 1, ["0:r", "c"]),
        ("c", ("r",), 1, ["0:r", "c"]),
    ],
)
def test_results_stand_for_the_calls_of_the_answer(
    content: str, results: tuple[str, ...], calls: int, said: list[str]
) -> None:
    answer = Answer(tool_calls=tuple(ToolCall(str(number), "t") for number in range(calls)))
    found = turn_messages(content, results, answer)
    assert [f"{m['tool_call_id']}:{m['content']}" if m["role"] == "tool" else m["content"] for m in found] == said
    assert {m["role"] for m in found} <= {"tool", "user"}
    if not calls:
        assert turn_messages(content, results, None) == found


def test_messages_that_openings_share_travel_once() -> None:
    shared = {"role": "user", "content": "shared " * 50}
    turns = tuple(turn(content=str(n), continues=None, opening=(shared,)) for n in range(4))
    packed = pack_session(Session(id="s", turns=turns))
    assert packed.count(b"shared shared") == 25
    unpacked = unpack_session(packed)
    assert unpacked == Session(id="s", turns=turns)
    assert len({id(one.opening[0]) for one in unpacked.turns}) == 1
