"""/v1/audio/transcriptions of the mock: a form in, text out, and the audio length in the ledger."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

import httpx
import pytest

from tests.support.mock_asgi import through_asgi

FLAGS = ("--ttft", "2ms", "--tpot", "1ms", "--output-tokens", "4")
PATH = "/v1/audio/transcriptions"


def wav(milliseconds: int, rate: int = 8_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(2 * rate * milliseconds // 1000))
    return out.getvalue()


def asked(content: bytes, *fields: dict[str, str]) -> tuple[list[httpx.Response], list[dict[str, Any]]]:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        for of_request in fields:
            answers.append(await client.post(PATH, data=of_request, files={"file": ("a.wav", content)}))

    return answers, through_asgi(call, *FLAGS)


def test_the_text_comes_whole_or_in_events_with_the_usage() -> None:
    (whole, stream), lines = asked(wav(1_000), {"model": "mock-model"}, {"stream": "true"})
    body = whole.json()
    assert body["usage"] == {
        "type": "tokens", "input_tokens": 25, "output_tokens": 4, "total_tokens": 29,
        "input_token_details": {"audio_tokens": 25, "text_tokens": 0},
    }  # fmt: skip
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line]
    assert [event["type"] for event in events] == ["transcript.text.delta"] * 4 + ["transcript.text.done"]
    assert events[-1]["text"] == "".join(event["delta"] for event in events[:-1])
    assert events[-1]["usage"]["output_tokens"] == 4
    assert [(line["audio_in_ns"], line["input_tokens"]) for line in lines] == [(1_000_000_000, 25)] * 2
    assert [line["chunk_kind"] for line in lines] == ["", "ccccu"]


@pytest.mark.parametrize(
    ("fields", "content", "status", "words"),
    [
        ({"model": "other"}, wav(100), 404, "does not exist"),
        ({"response_format": "srt"}, wav(100), 400, "json or verbose_json"),
        ({}, b"ID3 no wav", 400, "must be a WAV file"),
    ],
)
def test_wrong_forms_are_refused(fields: dict[str, str], content: bytes, status: int, words: str) -> None:
    (answer,), _ = asked(content, fields)
    assert answer.status_code == status
    assert words in answer.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"{}"),
        ("multipart/form-data; boundary=b", b"--b\r\nno end"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\n"),
    ],
)
def test_a_body_that_is_no_form_with_a_file_is_refused(kind: str, body: bytes) -> None:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        answers.append(await client.post(PATH, content=body, headers={"content-type": kind}))

    through_asgi(call, *FLAGS)
    assert answers[0].status_code == 400
