"""Invalid combinations of data settings: each is named, whatever else is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configurations import URL, problems, resolved

MEDIA = {"images": "n=1", "audio": "length=5s", "video": "n=1"}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (
            {"columns": "prompt=a", "bad_rows": "skip", "prefix": "tokens=x", "endpoint": "completions", **MEDIA,
             "extra_body": {"n": 2}, "websocket": True, "stream": False, "transport": "httpx", "probes": "canary",
             "prompt_ids": True, "tool_choice": "auto", "text": "nonsense"},
            ["--columns needs a file", "--bad-rows needs a file", "--prefix: 'tokens=x'", "--images need a chat",
             "--audio needs --endpoint chat, transcriptions or realtime, and", "--video needs --endpoint chat, and",
             "--websocket needs --endpoint responses: completions has no WebSocket",
             "--websocket and --no-stream cannot be combined", "--websocket needs --transport wire: httpx has no",
             "--probes says which answers are checked", "--prompt-ids needs the model's own tokenizer",
             "--tool-choice needs tools", "--text: no text of the kind 'nonsense'"],
        ),
        (
            {"mode": "sessions", "concurrency": "1", **MEDIA, "extra_body": {"n": 2}, "check_answers": "100%",
             "endpoint": "completions", "probes": "tool", "tools": "/nowhere"},
            ["--mode sessions need", "--images need a chat", "--images do not work with --mode sessions",
             "--images do not work with --tools", "--audio needs --endpoint chat",
             "--audio does not work with --mode sessions", "--audio does not work with --tools",
             "--video needs --endpoint chat", "--video does not work with --mode sessions",
             "--video does not work with --tools",
             "--extra-body asks for 2 choices", "--check-answers 100% leaves no session",
             "--probes: the kind tool needs an endpoint with tools", "--tools need a chat",
             "--tools: /nowhere cannot be read"],
        ),
        (
            {"dataset": "ROWS", "input_tokens": "5", **MEDIA, "prompt_ids": True, "tools": "TOOLS", "tool_choice": "x"},
            ["--input-tokens shapes simulated prompts", "--images are for simulated chats",
             "--images do not work with --tools", "--audio is for simulated chats", "--audio does not work with --tools",
             "--video is for simulated chats", "--video does not work with --tools",
             "--prompt-ids is for --endpoint completions: chat takes", "--prompt-ids needs the model's own tokenizer",
             "--tools are for simulated chats", "--tool-choice: x is not one of auto, required, none, look"],
        ),
        ({"dataset": "ROWS", "text": "nonsense"}, ["--text shapes simulated", "--text: no text of the kind 'nonsense'"]),
        ({"endpoint": "realtime", "transport": "httpx", "stream": False},
         ["--endpoint realtime and --no-stream", "--endpoint realtime needs --transport wire"]),
        ({"endpoint": "realtime", "websocket": True}, ["--websocket needs --endpoint responses: realtime always uses one"]),
        ({"endpoint": "embeddings", "check_answers": "5%"}, ["--check-answers needs an endpoint that answers"]),
        ({"endpoint": "realtime", "ignore_eos": True}, ["--ignore-eos is not a field of --endpoint realtime"]),
        ({"endpoint": "gemini", "model": "a=1,b=1", "ignore_eos": True, "images": "n=1"},
         ["--images: messages of gemini have only texts", "--ignore-eos has no effect: the body of gemini has no {{ ign"]),
        ({"endpoint": "ollama", "tools": "TOOLS", "check_answers": "5%", "probes": "tool"},
         ["--probes: the kind tool needs an endpoint with tools, and ollama", "--tools need a chat, but the endpoint is o"]),
        ({"endpoint": "PLAIN", "model": "a=1,b=1", "output_tokens": "5"},
         ["--output-tokens has no effect: the body of ", "--model: requests of "]),
    ],
)  # fmt: skip
def test_each_of_several_settings_that_do_not_fit_is_named(
    flags: dict[str, Any], named: list[str], tmp_path: Path
) -> None:
    rows, tools = tmp_path / "rows.jsonl", tmp_path / "tools.json"
    rows.write_text('{"prompt": "a"}\n')
    tools.write_text('[{"type": "function", "function": {"name": "look"}}]')
    plain = tmp_path / "plain.yaml"
    plain.write_text('{path: /, body: {q: "{{ prompt }}"}, reply: chunks}')
    places = {"ROWS": str(rows), "TOOLS": str(tools), "PLAIN": str(plain)}
    found = problems(**{key: places.get(str(value), value) for key, value in flags.items()})
    assert [sentence[: len(begins)] for sentence, begins in zip(found, named, strict=False)] == named
    assert len(found) == len(named), found


@pytest.mark.parametrize(
    "flags",
    [
        {"endpoint": "responses", "websocket": True},
        {"endpoint": "completions", "prompt_ids": True, "check_usage": True},
        {"extra_body": {"n": 2}},
        {"mode": "sessions", "concurrency": "1", "extra_body": {"n": 1}},
        {"mode": "sessions", "concurrency": "1", "check_answers": "99%"},
        {"check_answers": "100%", "probes": "tool"},
        {"endpoint": "completions", "check_answers": "5%", "probes": "canary"},
        {"audio": "length=5s", "endpoint": "transcriptions"},
        {"endpoint": "gemini", "model": "a=1,b=1", "output_tokens": "5", "check_answers": "5%"},
        {"endpoint": "ollama", "images": "n=1"},
        MEDIA,
    ],
)
def test_settings_that_fit_are_taken(flags: dict[str, Any]) -> None:
    assert resolved(**flags).url == URL
