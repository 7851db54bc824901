"""Realtime over WebSockets: our client against literal frames, OpenAI's client against the mock, and the numbers of
both."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.records import Outcome, RequestRecord
from bench.workload import Route
from promptset.audio import wav_file
from promptset.samples import Audio, Sample
from tests.support.calm import lasting
from tests.support.learned import give
from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.socket_sender import Sender, over
from tests.support.socket_server import BINARY, CLOSE, Said, Script, SocketServer, frame, goodbye, text

pytestmark = pytest.mark.wall_clock

TEXT = encode(Sample(prompt="Hello."), BodyOptions(endpoint="realtime", model="m")).body
SPEECH = encode(
    Sample(audio=Audio(wav_file(bytes(24_000), 24_000), "a.wav", None)), BodyOptions(endpoint="realtime", model="m")
).body
SESSION = text({"type": "session.created", "event_id": "e", "session": {"type": "realtime"}})
CREATED = text({"type": "response.created", "response": {"id": "r"}})
LIMITS = text({"type": "rate_limits.updated", "rate_limits": []})
WORD = text({"type": "response.output_audio_transcript.delta", "delta": "Hi"})


def sound(size: int) -> bytes:
    return text({"type": "response.output_audio.delta", "delta": base64.b64encode(bytes(size)).decode()})


def done(status: str = "completed", **fields: Any) -> bytes:
    return text({"type": "response.done", "response": {"id": "r", "status": status, **fields}})


def answered(*reply: bytes) -> Script:
    """Answers a client's messages like Realtime, and `response.create` with these steps."""

    def script(said: Said) -> list[bytes]:
        match said.row["type"]:
            case "session.update":
                return [text({"type": "session.updated"})]
            case "response.create":
                return list(reply)
            case "input_audio_buffer.append":
                return []
        return [text({"type": "conversation.item.added"}), text({"type": "conversation.item.done"})]

    return script


def asked(
    script: Script, body: bytes = TEXT, times: int = 1, **server: Any
) -> tuple[list[RequestRecord], SocketServer]:
    async def ask(sender: Sender) -> list[RequestRecord]:
        return [await sender.ask(body=body, route=Route(model="a/b")) for _ in range(times)]

    with SocketServer(script, **server) as served:
        path = "/v1/realtime?model={model}"
        records: list[RequestRecord] = over(served.url, ask, path=path, endpoint="realtime")
        return records, served


@pytest.mark.parametrize("body", [TEXT, SPEECH], ids=["text", "speech"])
def test_each_request_has_a_socket_of_its_own_and_its_reply_begins_behind_the_session(body: bytes) -> None:
    reply = [CREATED, WORD, sound(480), LIMITS, sound(960), done(), LIMITS]
    records, server = asked(answered(*reply), body, times=2, behind=SESSION)
    assert [head.split()[1] for head in server.heads] == ["/v1/realtime?model=a%2Fb"] * 2
    for number, record in enumerate(records):
        assert (record.outcome, record.status, record.clock) == (Outcome.OK, 200, "kernel")
        assert record.chunk_kind == "ocaoao"
        assert (record.chunk_audio_bytes, record.audio_bytes_per_s) == ((0, 0, 480, 0, 960, 0), 48_000)
        own = [said for said in server.said if said.connection == number]
        assert own[-1].row["response"]["metadata"] == {"x-request-id": f"r-{number}"}
        assert record.bytes_sent == sum(said.size for said in own)
        assert record.connect_ns
        assert record.sent_ns is not None
        assert record.chunk_ns[0] > record.sent_ns


LONG = [
    frame(b'{"type":"response.output_audio.delta","delta":"', last=False),
    *[frame(b"A" * 60_000, 0, last=False)] * 3,
]
ENDS: dict[str, tuple[list[bytes], Outcome, str]] = {
    "cut between messages": ([CREATED, sound(480), CLOSE], Outcome.TRUNCATED, "before the response had ended"),
    "cut in a message": ([CREATED, sound(480)[:200], CLOSE], Outcome.TRUNCATED, "before the response had ended"),
    "a goodbye": ([CREATED, goodbye(1011, "no GPU"), CLOSE], Outcome.TRUNCATED, "with code 1011 (no GPU)"),
    "no answer": ([CLOSE], Outcome.RESET, "before the response had ended"),
    "an error": ([text({"type": "error", "error": {"type": "server_error", "message": "busy"}})], Outcome.STREAM_ERROR,
                 "server_error: busy"),
    "a refusal": ([text({"type": "error", "status": 429, "error": {"message": "slow"}})], Outcome.HTTP_ERROR, "slow"),
    "a failure": ([CREATED, done("failed", status_details={"error": {"message": "no GPU"}})], Outcome.STREAM_ERROR, "no GPU"),
    "wrong JSON": ([CREATED, frame(b'{"type":'), sound(480), done()], Outcome.MALFORMED, "a message is not a JSON object"),
    "wrong Base64": ([CREATED, text({"type": "response.output_audio.delta", "delta": "###"}), done()], Outcome.STREAM_ERROR,
                     "not base64"),
    "no audio": ([CREATED, WORD, done()], Outcome.NO_TOKENS, "without audio"),
    "a binary message": ([CREATED, frame(b"\0", BINARY), CLOSE], Outcome.MALFORMED, "a binary message came"),
    "no frame": ([b"\xff\xff\xff"], Outcome.MALFORMED, "no WebSocket frame came"),
    "a large message": ([CREATED, *LONG, frame(b'"}', 0), done()], Outcome.OK, ""),
    "a huge frame": ([CREATED, b"\x81\x7f" + b"\x7f" * 8 + b"A" * 1000, CLOSE], Outcome.TRUNCATED, "before the response had"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "outcome", "words"), ENDS.values(), ids=ENDS)
def test_every_end_of_a_reply_has_its_outcome(reply: list[bytes], outcome: Outcome, words: str) -> None:
    (record,), _ = asked(answered(*reply), behind=SESSION)
    assert record.outcome is outcome, record.error
    assert words in (record.error or "")
    assert not (record.error or "").startswith("not HTTP")


def test_an_error_about_the_session_ends_the_request_with_its_words() -> None:
    def script(said: Said) -> list[bytes]:
        return [text({"type": "error", "error": {"message": "no such voice"}})] if said.number == 0 else []

    (record,), _ = asked(script)
    assert (record.outcome, record.error) == (Outcome.STREAM_ERROR, "no such voice")


# ---- The mock ---------------------------------------------------------------------------------------------------------


def answers(mock: MockProcess, *rows: dict[str, Any], sets: Any = None) -> list[Any]:
    """The events that OpenAI's client reads, up to the first `response.done` or error."""
    import openai

    async def talk() -> list[Any]:
        async with (
            openai.AsyncOpenAI(base_url=f"{mock.url}/v1", api_key="k", max_retries=0) as client,
            client.realtime.connect(model="mock-model") as connection,
        ):
            if sets is not None:
                await connection.session.update(session=sets)
            for row in rows:
                await connection.send(row)  # type: ignore[arg-type]
            events: list[Any] = []
            async for event in connection:
                events.append(event)
                if event.type in ("response.done", "error"):
                    return events
            return events

    return asyncio.run(asyncio.wait_for(talk(), PATIENCE_S))


HELLO = {"role": "user", "type": "message", "content": [{"type": "input_text", "text": "Say hello."}]}
SAY = {"type": "conversation.item.create", "item": HELLO}
CREATE = {"type": "response.create"}


def test_the_client_of_openai_hears_a_text_answered_in_speech() -> None:
    with mock_process("--ttft", "1ms", "--tpot", "1ms", "--output-tokens", "5") as mock:
        events = answers(mock, SAY, CREATE, sets={"type": "realtime", "audio": {"output": {"voice": "cedar"}}})
    kinds = [event.type for event in events]
    assert kinds[:5] == [
        "session.created", "session.updated", "conversation.item.added", "conversation.item.done", "response.created",
    ]  # fmt: skip
    assert events[1].session.audio.output.voice == "cedar"
    sounds = [base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta"]
    assert [len(one) for one in sounds] == [3_840] * 5
    words = "".join(event.delta for event in events if event.type == "response.output_audio_transcript.delta")
    (transcript,) = [event.transcript for event in events if event.type == "response.output_audio_transcript.done"]
    response = events[-1].response
    assert words == transcript == response.output[0].content[0].transcript != ""
    assert (response.status, response.output_modalities) == ("completed", ["audio"])
    details = response.usage.output_token_details
    assert (details.text_tokens, details.audio_tokens, response.usage.output_tokens) == (5, 5, 10)


def test_the_client_of_openai_speaks_and_reads_text_and_the_conversation_goes_on() -> None:
    import openai

    speech = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(9_600)).decode()}
    commit = {"type": "input_audio_buffer.commit"}

    async def talk(mock: MockProcess) -> list[Any]:
        async with (
            openai.AsyncOpenAI(base_url=f"{mock.url}/v1", api_key="k", max_retries=0) as client,
            client.realtime.connect(model="mock-model") as connection,
        ):
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            given: list[Any] = []
            for rows in ([speech, commit, CREATE], [SAY, CREATE]):
                for row in rows:
                    await connection.send(row)  # type: ignore[arg-type]
                while (event := await connection.recv()).type != "response.done":
                    assert event.type != "error"
                    given.append(event.type)
                given.append(event.response)
            return given

    with mock_process("--ttft", "1ms", "--tpot", "1ms", "--output-tokens", "5") as mock:
        given = asyncio.run(asyncio.wait_for(talk(mock), PATIENCE_S))
    assert given.count("response.output_text.delta") == 10
    assert "input_audio_buffer.committed" in given
    assert "response.output_audio.delta" not in given
    first, second = (one for one in given if not isinstance(one, str))
    assert second.usage.input_tokens > first.usage.input_tokens + 5  # Its own words, and the words sent to it.


def test_the_mock_answers_a_wrong_message_with_an_error_and_goes_on() -> None:
    with mock_process("--ttft", "1ms", "--tpot", "1ms", "--output-tokens", "2") as mock:
        error = answers(mock, {"type": "session.delete", "event_id": "mine"})[-1]
        assert (error.type, error.error.event_id) == ("error", "mine")
        assert answers(mock, SAY, CREATE)[-1].response.status == "completed"


FAULTS = (
    "--ttft 20ms --tpot 4ms --output-tokens 9 --fault 503:index=5 --fault truncate:after=2,index=6 "
    "--fault reset:after=2,index=7 --fault no_done:index=8 --fault error_in_stream:after=2,index=9 "
    "--fault stall:after=4,for=900ms,index=10 --fault cut_frame:after=3,index=11 --fault malformed:after=2,index=12 "
    "--fault empty:after=1,chunks=2,index=13 --fault u2028:after=1,index=14"
)


@pytest.mark.parametrize("audio", [False, True], ids=["text", "speech"])
def test_every_number_of_realtime_agrees_with_the_ledger(
    audio: bool, tmp_path: Path, learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(give(learned, tmp_path / "cache")))
    given = "--audio length=1s" if audio else "--input-tokens 20 --output-tokens 18"
    flags = f"calibrate --endpoint realtime {given} --concurrency 4 --requests 24 --max-errors 100% --workers 1 --quiet"
    more = f"--play-after 100ms --slo ttfa:p50<60s --slo playback_stall:p50<60s --no-store --out {tmp_path / 'run'}"
    cli.main([*flags.split(), *more.split(), "--mock", FAULTS])
    summary: Any = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert summary["counts"]["by_outcome"] == {
        "ok": 17, "stream_error": 1, "malformed": 1, "http_error": 1, "truncated": 3, "reset": 1,
    }  # fmt: skip
    assert lasting(summary["calibration"]["problems"]) == []
    assert summary["slo"]["held"] is True
    measured = {row["metric"] for row in summary["calibration"]["metrics"]}
    assert {"ttfa_ms", "ttft_ms", "e2el_ms", "rtf", "playback_stall_ms", "playback_stalls", "itl_ms"} <= measured
    sums = {row["what"]: (row["here"], row["there"]) for row in summary["calibration"]["agreement"]}
    assert sums["bytes of audio"] == (17 * 9 * 3_840,) * 2
    assert sums["tokens"] == (17 * 9,) * 2
    true = {(row["metric"], row["stat"]): row["true"] for row in summary["calibration"]["metrics"]}
    assert true["playback_stall_ms", "max"] > 100  # From a pause of 900 ms, after 5 * 80 ms of audio.
    assert summary["latency"]["audio_s"]["p50"] == pytest.approx(0.72)  # The received audio, not the sent audio.


def test_a_server_without_realtime_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with SocketServer(answered(), refuses=b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n") as server:
        flags = f"run --url {server.url} --endpoint realtime --requests 1 --out {tmp_path / 'run'} --model m"
        assert cli.main(flags.split()) == 4
    said = capsys.readouterr().err
    assert "takes no WebSocket (status 404" in said
    assert "check the path, and whether this server has the API" in said
    assert json.dumps("leave out --websocket") not in said
