"""/v1/audio/speech of the mock: file bytes or events, with the audio bytes of each chunk in the ledger."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import httpx
import pytest

from tests.support.mock_asgi import through_asgi

FLAGS = ("--ttft", "2ms", "--tpot", "1ms", "--output-tokens", "4")
ASKED = {"input": "Hello there.", "voice": "alloy", "response_format": "wav"}
TOKEN = 3_840


def asked(
    *bodies: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[list[httpx.Response], list[dict[str, Any]]]:
    answers: list[httpx.Response] = []

    async def call(client: httpx.AsyncClient) -> None:
        for body in bodies:
            answers.append(await client.post("/v1/audio/speech", json=body, headers=headers))

    return answers, through_asgi(call, *FLAGS)


def test_each_token_is_80_ms_of_a_wav_file_or_of_samples() -> None:
    (wav, pcm, events), lines = asked(ASKED, {**ASKED, "response_format": "pcm"}, {**ASKED, "stream_format": "sse"})
    assert (wav.headers["content-type"], pcm.headers["content-type"]) == ("audio/wav", "audio/pcm")
    with wave.open(io.BytesIO(wav.content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
    assert wav.content[44:] == pcm.content
    assert len(pcm.content) == 4 * TOKEN
    said = [json.loads(line[6:]) for line in events.text.splitlines() if line]
    assert b"".join(base64.b64decode(event["audio"]) for event in said[:-1]) == wav.content
    assert said[-1]["type"] == "speech.audio.done"
    assert said[-1]["usage"]["output_tokens"] == 4
    assert [line["chunk_kind"] for line in lines] == ["oaaaao", "aaaao", "oaaaau"]
    assert [line["audio_out_bytes"] for line in lines] == [
        [0, *[TOKEN] * 4, 0], [*[TOKEN] * 4, 0], [0, *[TOKEN] * 4, 0],
    ]  # fmt: skip
    assert [line["audio_bytes_per_s"] for line in lines] == [48_000] * 3
    assert {(line["inputs"], sum(line["chunk_tokens"]), line["planned"]["output_tokens"]) for line in lines} == {
        (1, 0, 0)
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": ""}, "input must be a text"),
        ({"voice": None}, "voice must name a voice"),
        ({"response_format": "mp3"}, "response_format must be one of wav, pcm"),
        ({"stream_format": "x"}, "stream_format must be audio or sse"),
    ],
)
def test_wrong_requests_are_refused(change: dict[str, Any], words: str) -> None:
    (answer,), _ = asked({**ASKED, **change})
    assert answer.status_code == 400
    assert words in answer.text


@pytest.mark.parametrize("fault", ["duplicate:after=1", "malformed:after=1", "u2028:after=1", "usage_missing"])
def test_faults_of_text_and_events_find_nothing_to_do_in_bytes(fault: str) -> None:
    (answer,), (line,) = asked(ASKED, headers={"x-mock-fault": fault})
    assert len(answer.content) == 44 + 4 * TOKEN
    assert line["fault"] is None


def test_a_piece_of_several_tokens_has_all_their_sound() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        await client.post("/v1/audio/speech", json=ASKED)

    (line,) = through_asgi(call, *FLAGS, "--stream-interval", "3")
    assert sum(line["audio_out_bytes"]) == 4 * TOKEN == line["bytes_out"] - 44
    assert max(line["audio_out_bytes"]) > TOKEN
