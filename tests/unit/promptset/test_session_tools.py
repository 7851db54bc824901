"""Sessions with tools: calls in planned and real answers, results for exactly those calls, and invalid rows."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from promptset.answers import Answer, ToolCall
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.sessions import Session, Turn, load_sessions, read_session, simulated_sessions
from promptset.tokens import load_tokenizer
from tests.support.tool_template import TOOLS, write_tokenizer

TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}
ROW: dict[str, Any] = {
    "session": "fix-1",
    "tools": [TOOL],
    "turns": [
        {"content": "Fix it.", "answer": "I look.", "answer_tool_calls": [
            {"name": "read", "arguments": {"path": "a"}}, {"name": "list", "id": "mine"}]},
        {"results": ["text of a", "a b"], "think_time_s": 2, "answer": "Done."},
        {"content": "Thanks."},
    ],
}  # fmt: skip


def called(*calls: tuple[str, str]) -> Answer:
    return Answer(content="so", tool_calls=tuple(ToolCall(call_id, name) for call_id, name in calls))


def test_a_planned_history_has_the_calls_and_a_result_for_each() -> None:
    session = read_session(ROW, "x")
    first = {"id": "c00000000", "type": "function", "function": {"name": "read", "arguments": '{"path":"a"}'}}
    second = {"id": "mine", "type": "function", "function": {"name": "list", "arguments": "{}"}}
    assert session.conversation(2) == [
        {"role": "user", "content": "Fix it."},
        {"role": "assistant", "content": "I look.", "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "c00000000", "content": "text of a"},
        {"role": "tool", "tool_call_id": "mine", "content": "a b"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]
    assert session.tools == (TOOL,)
    assert read_session(session.row(), "x") == session


def test_before_a_turn_with_results_it_is_tools_that_pause() -> None:
    nodes = read_session(ROW, "x").nodes
    assert [(node.pause, node.job) for node in nodes] == [(None, 0), ("tool", 0), ("human", 1)]


@pytest.mark.parametrize(
    ("real", "sent"),
    [
        (called(("r1", "read"), ("r2", "read")), [("tool", "r1", "text of a"), ("tool", "r2", "a b")]),
        (called(("r1", "read")), [("tool", "r1", "text of a")]),
        (
            called(("r1", "a"), ("r2", "b"), ("r3", "c")),
            [("tool", "r1", "text of a"), ("tool", "r2", "a b"), ("tool", "r3", "text of a")],
        ),
        (called(("", "a")), [("tool", "c00000000", "text of a")]),
        (called(), [("user", None, "text of a\n\na b")]),
    ],
)
def test_results_are_sent_for_exactly_the_calls_that_the_server_made(real: Answer, sent: list[Any]) -> None:
    told = read_session(ROW, "x").conversation(1, {0: real})
    assert [(m["role"], m.get("tool_call_id"), m["content"]) for m in told[2:]] == sent
    assert [call["id"] for call in told[1].get("tool_calls", [])] == [m[1] for m in sent if m[0] == "tool"]


def test_where_nobody_planned_results_the_text_answers_the_first_call() -> None:
    told = read_session(ROW, "x").conversation(2, {1: called(("r1", "a"), ("r2", "b"))})
    assert [(m["role"], m.get("tool_call_id"), m["content"]) for m in told[-2:]] == [
        ("tool", "r1", "Thanks."),
        ("tool", "r2", ""),
    ]


def test_a_user_may_speak_beside_the_results() -> None:
    turns = (Turn(content="a"), Turn(results=("r",), content="And hurry."))
    told = Session(id="s", turns=turns).conversation(1, {0: called(("k", "t"))})
    assert [(m["role"], m["content"]) for m in told[2:]] == [("tool", "r"), ("user", "And hurry.")]


def test_reasoning_is_in_the_history_only_where_it_is_given_back() -> None:
    real = Answer(content="so", reasoning={"reasoning": "hm"})
    session = read_session({"turns": [{"content": "a"}, {"content": "b"}]}, "x")
    assert session.conversation(1, {0: real})[1] == {"role": "assistant", "content": "so"}
    assert session.conversation(1, {0: real}, reasoning=True)[1]["reasoning"] == "hm"


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([{"results": []}], "turn 1 must be an object with a content that is not empty, or with results"),
        ([{"results": "x"}], "turn 1: results must be a list of texts, one for each call, not 'x'"),
        ([{"content": "a", "answer_tool_calls": {}}], "turn 1: answer_tool_calls must be a list of calls, not {}"),
        (
            [{"content": "a", "answer_tool_calls": [{"name": "x"}, {"arguments": {}}]}],
            'turn 1: answer_tool_calls: call 2 must be {"name": "...", "arguments"?: {...}, "id"?: "..."}',
        ),
        (
            [{"content": "a", "answer_tool_calls": [{"name": "x"}, {"name": "y"}]}, {"results": ["r"]}],
            "turn 2: the answer before it calls 2 tools and it has 1 result: give one for each call",
        ),
        (
            [{"content": "a", "answer_tool_calls": [{"name": "x"}]}, {"content": "b"}],
            "turn 2: the answer before it calls 1 tool and it has 0 results: give one for each call",
        ),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_with_the_reason(turns: list[Any], problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_session({"turns": turns}, "x")
    assert refused.value.problems == [problem]


def test_calls_are_counted_as_servers_render_them() -> None:
    tokenizer = load_tokenizer()
    function = {"name": "read", "arguments": '{"path": "a b", "n": 1}'}
    ask: dict[str, Any] = {"role": "user", "content": "x"}
    as_text: list[dict[str, Any]] = [
        ask,
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": function}]},
    ]
    parsed = {**function, "arguments": json.loads(function["arguments"])}
    as_object: list[dict[str, Any]] = [
        ask,
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": parsed}]},
    ]
    close = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "function": {**function, "arguments": "{"}}],
    }
    assert tokenizer.count_chat(as_text) == tokenizer.count_chat(as_object)
    # Arguments that are not JSON stay a string.
    assert tokenizer.count_chat([ask, close]) < tokenizer.count_chat(as_text)


def test_simulated_sessions_with_tools_are_exact(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    own = resources.files("promptset").joinpath("default_chat_template.jinja").read_text(encoding="utf-8")
    listing = "{%- if tools -%}{{- tools | tojson -}}{%- endif -%}"
    (folder / "chat_template.jinja").write_text(own.replace("{{- bos_token -}}", "{{- bos_token -}}" + listing))
    special = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    tokenizer = load_tokenizer(str(folder))
    made = simulated_sessions(
        tokenizer,
        turns=parse(3, "tokens"),
        input_tokens=parse("uniform:90..120", "tokens"),
        output_tokens=parse(7, "tokens"),
        think_time=parse("0s", "time"),
        seed=3,
        tools=TOOLS,
    )
    for session in (made.session_at(0), made.session_at(1)):
        assert session.tools == tuple(TOOLS)
        assert tokenizer.count_chat(session.conversation(0)) < (session.turns[0].input_tokens or 0)
        for number, turn in enumerate(session.turns):
            assert tokenizer.count_chat(session.conversation(number), session.tools) == turn.input_tokens


def test_the_session_with_tools_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sessions.md").read_text(encoding="utf-8")
    block = page.partition("### Sessions with tools")[2].partition("```json\n")[2].partition("```")[0]
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps(json.loads(block)) + "\n")
    (session,) = load_sessions(path)
    assert [m["role"] for m in session.conversation(1)] == ["user", "assistant", "tool", "tool"]
