"""Speech and transcriptions over sockets: calibrations against the mock, with faults, over both transports."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from promptset.audio import wav_file
from tests.support.calm import lasting
from tests.support.mock_process import mock_process

pytestmark = pytest.mark.usefixtures("empty_cache")

MOCK = (
    "--ttft 20ms --tpot 4ms --output-tokens 9 --fault 503:index=5 --fault truncate:after=2,index=6 "
    "--fault reset:after=2,index=7 --fault gzip:index=8 --fault trickle:index=9 --fault stall:after=4,for=900ms,index=10 "
    "--fault cut_frame:after=3,index=11 --fault coalesce:chunks=3,index=12"
)


def calibrated(words: str, out: Path) -> Any:
    flags = f"calibrate {words} --concurrency 4 --requests 24 --max-errors 100% --workers 1 --quiet --no-store"
    cli.main([*flags.split(), "--mock", MOCK, "--out", str(out)])
    summary: Any = orjson.loads((out / "summary.json").read_bytes())
    assert summary["counts"]["by_outcome"] == {"ok": 20, "http_error": 1, "reset": 1, "truncated": 2}
    assert lasting(summary["calibration"]["problems"]) == []
    return summary


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize("events", [False, True])
def test_speech_agrees_with_the_ledger_and_a_pause_of_the_server_is_a_playback_stall(
    transport: str, events: bool, tmp_path: Path
) -> None:
    more = ' --extra-body {"stream_format":"sse"}' if events else ""
    words = f"--endpoint speech --transport {transport} --input-tokens 20 --play-after 100ms --slo ttfa:p50<60s{more}"
    summary = calibrated(words, tmp_path / "run")
    assert summary["slo"]["held"] is True
    calibration = summary["calibration"]
    metrics = {"ttfa_ms", "rtf", "playback_stall_ms", "playback_stalls", "e2el_ms", "e2el_from_intended_ms"}
    assert {row["metric"] for row in calibration["metrics"]} == metrics
    true = {(row["metric"], row["stat"]): row["true"] for row in calibration["metrics"]}
    # Four pieces of 80 ms, sent 100 ms ahead of the player: a pause of 900 ms leaves about 900 - 4 * (80 - 4) - 100 + 4
    # ms of stall.
    assert true["playback_stall_ms", "max"] > 100  # The first piece may be late, which shortens the stall.
    assert true["playback_stalls", "max"] >= 1
    (sums,) = [row for row in calibration["agreement"] if row["what"] == "bytes of audio"]
    assert sums["here"] == sums["there"] == 20 * 9 * 3_840
    assert summary["latency"]["audio_s"]["p50"] == pytest.approx(0.72)


def test_transcriptions_agree_with_the_ledger(tmp_path: Path) -> None:
    summary = calibrated("--endpoint transcriptions --audio length=2s --slo rtf:p50<30", tmp_path / "run")
    assert summary["slo"]["held"] is True
    rows = {row["stat"]: row for row in summary["calibration"]["metrics"] if row["metric"] == "rtf"}
    assert rows["p50"]["true"] > 0.025  # 20 ms and 8 gaps of 4 ms, of 2 s.
    assert summary["latency"]["audio_s"]["mean"] == 2


def test_the_client_of_openai_transcribes_and_speaks() -> None:
    import openai

    sound = wav_file(bytes(32_000), 16_000)
    with (
        mock_process("--ttft", "1ms", "--tpot", "1ms", "--output-tokens", "5") as mock,
        openai.OpenAI(base_url=f"{mock.url}/v1", api_key="k", max_retries=0) as client,
    ):
        whole = client.audio.transcriptions.create(file=("a.wav", sound), model="mock-model")
        assert whole.text
        assert whole.usage is not None
        assert whole.usage.type == "tokens"
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (25, 5)
        stream = client.audio.transcriptions.create(file=("a.wav", sound), model="mock-model", stream=True)
        *deltas, last = list(stream)
        assert [event.type for event in deltas] == ["transcript.text.delta"] * 5
        assert last.type == "transcript.text.done"
        assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == last.text
        asked: Any = {"input": "Hello.", "model": "mock-model", "voice": "alloy", "response_format": "pcm"}
        with client.audio.speech.with_streaming_response.create(**asked) as response:
            assert response.headers["content-type"] == "audio/pcm"
            assert len(response.read()) == 5 * 3_840
        with client.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as response:
            events = [orjson.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
        assert [event["type"] for event in events] == ["speech.audio.delta"] * 5 + ["speech.audio.done"]
        assert sum(len(base64.b64decode(event["audio"])) for event in events[:-1]) == 5 * 3_840
        with pytest.raises(openai.BadRequestError, match="voice must name a voice"):
            client.audio.speech.create(**{**asked, "voice": None})
