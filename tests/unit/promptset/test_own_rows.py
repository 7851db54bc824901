"""Rows with the route of their request: endpoint, model, headers, priority."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.loaders import DataSet, load
from promptset.samples import Sample
from promptset.sessions import load_sessions, read_session

MESSAGES = [{"role": "user", "content": "hi"}]
ENDPOINTS = {"chat": True, "completions": False}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        (
            {"prompt": "a", "endpoint": "completions", "model": "m", "headers": {"X-A": " b "}, "priority": -2},
            Sample(prompt="a", endpoint="completions", model="m", headers=(("X-A", "b"),), priority=-2),
        ),
        ({"prompt": "a", "model": "m"}, Sample(prompt="a", model="m")),
        ({"prompt": "a", "priority": 2**31 - 1}, Sample(prompt="a", priority=2**31 - 1)),
        (
            {"messages": MESSAGES, "model": "m", "output_tokens": 4},
            Sample(messages=({"role": "user", "content": "hi"},), model="m", output_tokens=4),
        ),
        ({"messages": MESSAGES, "model": "m"}, Sample(body={"messages": MESSAGES, "model": "m"})),
        (
            {"messages": MESSAGES, "model": "m", "temperature": 0, "endpoint": "chat", "headers": {"X-A": "b"}},
            Sample(
                body={"messages": MESSAGES, "model": "m", "temperature": 0}, endpoint="chat", headers=(("X-A", "b"),)
            ),
        ),
        (
            {"body": {"prompt": "a", "model": "m"}, "endpoint": "completions"},
            Sample(body={"prompt": "a", "model": "m"}, endpoint="completions"),
        ),
        ({"prompt": "a", "headers": {}}, Sample(prompt="a")),
        ({"prompt": "a", "headers": {"X-A": "b\r\n"}}, Sample(prompt="a", headers=(("X-A", "b"),))),
    ],
)
def test_a_row_says_where_it_goes(row: dict[str, Any], sample: Sample, tmp_path: Path) -> None:
    assert load(written(tmp_path / "rows.jsonl", row)) == [sample]


def test_a_generated_prompt_may_name_a_model_too(tmp_path: Path) -> None:
    (sample,) = load(written(tmp_path / "rows.jsonl", {"input_tokens": 20, "model": "m", "priority": 3}))
    assert (sample.model, sample.priority, sample.input_tokens) == ("m", 3, 20)
    assert sample.prompt


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"endpoint": "chta"}, "endpoint 'chta' is not one of chat, completions"),
        ({"endpoint": ""}, "endpoint must be a string that is not empty"),
        ({"model": 3, "output_tokens": 1}, "model must be a string that is not empty"),
        ({"priority": 1.5}, "priority must be a whole number, not 1.5"),
        ({"priority": True}, "priority must be a whole number, not True"),
        ({"priority": 2**31}, "priority must be a whole number, not 2147483648"),
        ({"priority": -(2**31)}, "priority must be a whole number, not -2147483648"),
        ({"headers": ["a"]}, "headers must be an object of names and values"),
        ({"headers": {"a b": "c"}}, "headers: 'a b' is not the name of a header"),
        ({"headers": {"Host": "c"}}, "headers: Host is set for each request: leave it out"),
        ({"headers": {"X-Key": 5}}, "headers: the value of X-Key must be a string"),
        ({"headers": {"X-Key": "s3cret\r\nX-B: 1"}}, "headers: the value of X-Key has characters"),
    ],
)
def test_what_is_wrong_is_said_and_no_value_of_a_header(row: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="line 1") as caught:
        DataSet(written(tmp_path / "rows.jsonl", {"prompt": "a", **row}), endpoints=ENDPOINTS)
    assert problem in caught.value.problems[0]
    assert "s3cret" not in str(caught.value)


def test_a_chat_cannot_be_sent_where_there_are_none(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", {"messages": MESSAGES, "endpoint": "completions"})
    with pytest.raises(SpecError, match="messages cannot be sent to the endpoint completions: give a prompt"):
        DataSet(path, endpoints=ENDPOINTS)
    path = written(tmp_path / "chats.jsonl", {"messages": MESSAGES, "output_tokens": 4}, {"prompt": "a"})
    with pytest.raises(SpecError, match="line 1: messages cannot be sent to an endpoint of prompts: give a prompt"):
        DataSet(path, chat=False, endpoints=ENDPOINTS)
    path = written(tmp_path / "lengths.jsonl", {"input_tokens": 30, "endpoint": "completions"})
    with pytest.raises(SpecError, match="made as chats here, and cannot be sent to the endpoint completions"):
        DataSet(path, chat=True, endpoints=ENDPOINTS)


def test_a_row_of_a_run_of_one_endpoint_cannot_name_another(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", {"prompt": "a", "endpoint": "chat"})
    with pytest.raises(SpecError, match="line 1: endpoint 'chat': all rows of this run go to embeddings"):
        DataSet(path, endpoints={"embeddings": False}, inputs_are="texts")


def test_a_data_set_knows_the_first_row_of_each_way_and_the_first_that_names_no_model(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "model": "m"}, {"prompt": "b", "model": "m"}, {"prompt": "c", "endpoint": "completions"}]
    made = DataSet(
        written(tmp_path / "rows.jsonl", *rows, {"model": "n", "messages": MESSAGES}), chat=True, endpoints=ENDPOINTS
    )
    assert made.ways.first == {(None, "m"): 0, ("completions", None): 2, (None, "n"): 3}
    assert made.ways.unnamed == 2


def test_headers_are_in_no_repr(tmp_path: Path) -> None:
    (sample,) = load(written(tmp_path / "rows.jsonl", {"prompt": "a", "headers": {"X-Key": "s3cret"}}))
    assert "s3cret" not in repr(sample)


def test_a_session_says_where_its_requests_go_and_survives_the_way_to_another_process(tmp_path: Path) -> None:
    own = {"endpoint": "chat", "model": "m", "priority": 1, "headers": {"X-User": "7"}}
    row = {"session": "s", "turns": [{"content": "hi"}], **own}
    (session,) = load_sessions(written(tmp_path / "sessions.jsonl", row), endpoints=("chat",))
    assert (session.model, session.headers) == ("m", (("X-User", "7"),))
    assert read_session(session.row(), "") == session
    with pytest.raises(SpecError, match="endpoint 'chat' is not one of messages"):
        load_sessions(tmp_path / "sessions.jsonl", endpoints=("messages",))
