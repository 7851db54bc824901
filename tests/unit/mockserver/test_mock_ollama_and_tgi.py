"""Ollama's and Text Generation Inference's formats on the mock: literal lines and events, whole replies, refusals."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.mock_asgi import through_asgi

FLAGS = ("--ttft", "1ms", "--tpot", "1ms")
CHAT = {"messages": [{"role": "user", "content": "Hi"}], "options": {"num_predict": 3}}
BODIES: dict[str, Any] = {
    "/api/chat": CHAT,
    "/api/generate": {"prompt": "Hi", "options": {"num_predict": 3}},
    "/generate_stream": {"inputs": "Hi", "parameters": {"max_new_tokens": 3}},
    "/generate": {"inputs": "Hi", "parameters": {"max_new_tokens": 3}},
}


def asked(path: str, body: Any, *flags: str, fault: str = "") -> tuple[httpx.Response, dict[str, Any]]:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        headers = {"x-request-id": "r"} | ({"x-mock-fault": fault} if fault else {})
        answers.append(await client.post(path, json=body, headers=headers))

    (line,) = through_asgi(call, *FLAGS, *flags)
    return answers[0], line


@pytest.mark.parametrize(("path", "text_of"), [
    ("/api/chat", lambda row: row["message"]["content"]), ("/api/generate", lambda row: row["response"]),
])  # fmt: skip
def test_ollama_streams_lines_and_the_last_has_the_counts(path: str, text_of: Any) -> None:
    answer, line = asked(path, BODIES[path])
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(one) for one in answer.text.splitlines()]
    assert [row["done"] for row in rows] == [False, False, False, True]
    assert all(text_of(row) for row in rows[:3])
    assert "Hi" not in text_of(rows[0])  # The prompt is not repeated.
    assert text_of(rows[3]) == ""
    assert rows[3]["done_reason"] == "length"
    assert (rows[3]["prompt_eval_count"], rows[3]["eval_count"]) == (line["input_tokens"], 3)
    assert {row["model"] for row in rows} == {"mock-model"}
    assert (line["chunk_kind"], line["chunk_tokens"]) == ("cccu", [1, 1, 1, 0])
    assert line["bytes_out"] == len(answer.content)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_ollama_answers_in_one_piece_if_nobody_wants_a_stream(path: str) -> None:
    answer, line = asked(path, {**BODIES[path], "stream": False})
    body = answer.json()
    assert body["message"]["content"] if path == "/api/chat" else body["response"]
    assert (body["done"], body["eval_count"], line["chunk_kind"]) == (True, 3, "")


def test_ollama_thinks_in_a_field_of_its_own() -> None:
    answer, line = asked("/api/chat", CHAT, "--reasoning-tokens", "1")
    first, *_ = [json.loads(one) for one in answer.text.splitlines()]
    assert first["message"]["thinking"]
    assert first["message"]["content"] == ""
    assert line["chunk_kind"] == "tccu"


def test_tgi_sends_an_event_a_token_and_the_last_has_the_text_and_the_details() -> None:
    answer, line = asked("/generate_stream", BODIES["/generate_stream"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("data:{")
    rows = [json.loads(event.removeprefix("data:")) for event in answer.text.split("\n\n") if event]
    texts = [row["token"]["text"] for row in rows]
    assert [row["index"] for row in rows] == [1, 2, 3]
    assert [row["generated_text"] for row in rows] == [None, None, "".join(texts)]
    details = {"finish_reason": "length", "generated_tokens": 3, "input_length": line["input_tokens"], "seed": None}
    assert [row["details"] for row in rows] == [None, None, details]
    assert (line["chunk_kind"], line["chunk_tokens"]) == ("ccc", [1, 1, 1])


def test_tgi_answers_in_one_piece_at_its_other_path() -> None:
    answer, _ = asked("/generate", BODIES["/generate"])
    body = answer.json()
    assert body["generated_text"]
    assert body["details"]["generated_tokens"] == 3


def test_a_stop_string_ends_a_reply_of_tgi_and_is_the_reason() -> None:
    text = asked("/generate", BODIES["/generate"])[0].json()["generated_text"]
    stop = {"inputs": "Hi", "parameters": {"max_new_tokens": 3, "stop": [text.split()[1]]}}
    assert asked("/generate", stop)[0].json()["details"]["finish_reason"] == "stop_sequence"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/chat", {}, "messages must be a list"),
        ("/api/chat", {"messages": [{}]}, "messages must be a list"),
        ("/api/generate", {"prompt": 1}, "prompt must be a text"),
        ("/api/generate", {"prompt": "a", "options": {"num_predict": "x"}}, "num_predict must be a whole number"),
        ("/api/generate", {"prompt": "a", "options": 1}, "options must be an object"),
        ("/api/generate", {"prompt": "a", "options": {"stop": [1]}}, "stop must be texts"),
        ("/generate", {}, "inputs must be a text"),
        ("/generate", {"inputs": "a", "parameters": 1}, "parameters must be an object"),
        ("/generate", {"inputs": "a", "parameters": {"max_new_tokens": 0}}, "max_new_tokens must be"),
        ("/generate", {"inputs": "a", "parameters": {"stop": "a"}}, "stop must be a list"),
    ],
)
def test_a_wrong_body_is_refused_in_the_words_of_the_dialect(path: str, body: Any, words: str) -> None:
    answer, _ = asked(path, body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/chat", "/generate_stream"])
def test_a_failure_in_a_stream_is_an_error_and_nothing_after_it(path: str) -> None:
    answer, line = asked(path, BODIES[path], fault="error_in_stream:after=1")
    last = answer.text.strip().splitlines()[-1].removeprefix("data:")
    assert "error" in json.loads(last)
    assert (line["chunk_kind"], line["fault"]) == ("co", "error_in_stream")
