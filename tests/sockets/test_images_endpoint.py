"""Image generation, and chats with images, audio and video, over sockets: the client's numbers against the mock's ledger, and
OpenAI's own client against the mock."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from tests.support.calm import lasting
from tests.support.mock_process import mock_process

pytestmark = pytest.mark.usefixtures("empty_cache")

FAULTS = {
    "503": "http_error", "reset:after=2": "reset", "truncate:after=1": "truncated", "cut_frame:after=2": "truncated",
    "no_done": "truncated", "error_in_stream:after=1": "stream_error", "malformed:after=1": "malformed",
    "duplicate:after=1": "ok", "reorder:after=1": "ok", "gzip": "ok", "trickle": "ok", "split": "ok", "crlf": "ok",
    "comments": "ok", "keepalive:period=5ms": "ok", "length:more=2": "ok", "usage_missing": "ok", "u2028": "ok",
    "split_utf8": "ok", "empty": "ok", "coalesce:chunks=2": "ok",
}  # fmt: skip


def calibrated(out: Path, extra: dict[str, Any], requests: int, mock: str, *more: str) -> Any:
    words = f"--endpoint images --concurrency 4 --requests {requests} --max-errors 100% --workers 1 --quiet"
    cli.main([
        "calibrate", *words.split(), "--extra-body", orjson.dumps(extra).decode(), "--mock", mock, "--no-store",
        "--input-tokens", "16", "--out", str(out), *more,
    ])  # fmt: skip
    found: Any = orjson.loads((out / "summary.json").read_bytes())
    return found


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_a_calibration_of_streams_agrees_with_the_ledger_in_every_count(transport: str, tmp_path: Path) -> None:
    met = " ".join(f"--fault {one}{',' if ':' in one else ':'}index={i}" for i, one in enumerate(FAULTS, 5))
    requests = len(FAULTS) + 8
    summary = calibrated(
        tmp_path / "run", {"stream": True, "partial_images": 2, "size": "32x32"}, requests,
        f"--ttft 20ms --tpot 15ms {met}", "--transport", transport, "--slo", "ttfi:p50<60s",
    )  # fmt: skip
    calibration = summary["calibration"]
    assert lasting(calibration["problems"]) == []
    outcomes = [*FAULTS.values()]
    expected = {outcome: outcomes.count(outcome) for outcome in outcomes}
    assert summary["counts"]["by_outcome"] == expected | {"ok": expected["ok"] + 8}
    assert summary["slo"]["held"] is True
    assert {row["metric"] for row in calibration["metrics"]} == {"e2el_ms", "e2el_from_intended_ms", "ttfi_ms"}
    true = {(row["metric"], row["stat"]): row["true"] for row in calibration["metrics"]}
    # The image is sent after the first partial one. How long after depends on this machine.
    assert true["e2el_ms", "p50"] > true["ttfi_ms", "p50"]
    inputs = summary["inputs"]
    assert (inputs["are"], inputs["total"]) == ("images", expected["ok"] + 8)
    assert inputs["bytes_received"]["p50"] > 3 * 32 * 32
    assert {"inputs_per_s", "input_tokens_per_s"} <= {row["metric"] for row in calibration["throughput"]}
    assert summary["latency"]["ttft_ms"]["n"] == 0


def test_whole_replies_have_several_images_and_no_time_to_the_first(tmp_path: Path) -> None:
    summary = calibrated(
        tmp_path / "run", {"n": 3, "size": "32x32"}, 12, "--ttft 20ms --tpot 10ms --fault gzip:index=5"
    )
    assert lasting(summary["calibration"]["problems"]) == []
    assert summary["counts"]["by_outcome"] == {"ok": 12}
    assert (summary["inputs"]["total"], summary["inputs"]["per_request"]["max"]) == (36, 3)
    assert summary["latency"]["ttfi_ms"]["n"] == 0
    assert {row["metric"] for row in summary["calibration"]["metrics"]} == {"e2el_ms", "e2el_from_intended_ms"}


def test_chats_with_images_audio_and_video_cost_what_the_mock_charges(tmp_path: Path) -> None:
    out = tmp_path / "run"
    cli.main([
        "calibrate", "--concurrency", "2", "--requests", "6", "--workers", "1", "--quiet", "--no-store",
        "--input-tokens", "40", "--output-tokens", "4",
        "--images", "n=2,size=16x16", "--audio", "length=500ms,rate=8000", "--video", "length=200ms,fps=5,size=16x16",
        "--mock", "--ttft 5ms --tpot 2ms --image-tokens 10 --audio-tokens 20 --video-tokens 30", "--out", str(out),
    ])  # fmt: skip
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert lasting(summary["calibration"]["problems"]) == []
    assert summary["counts"]["by_outcome"] == {"ok": 6}
    records = [orjson.loads(line) for line in (out / "requests.jsonl").read_bytes().splitlines()]
    assert {(record["input_tokens"], record["text_tokens_asked"]) for record in records} == {
        (40 + 2 * 10 + 20 + 30, 40)
    }
    assert all(4_044 + 500 < record["media_bytes"] < record["bytes_sent"] * 3 / 4 for record in records)
    assert "input_tokens_asked" not in records[0]
    media = summary["media"]
    assert (media["requests"], media["text_tokens"]["p50"]) == (6, 40)
    assert media["bytes"]["max"] == max(record["media_bytes"] for record in records)


def test_the_openai_client_reads_images_and_streams_of_the_mock() -> None:
    import openai

    with mock_process("--ttft", "1ms", "--tpot", "1ms") as mock:
        client = openai.OpenAI(base_url=f"{mock.url}/v1", api_key="k")
        reply = client.images.generate(prompt="a cat", model="mock-model", n=2, size="256x256")
        assert reply.data is not None
        assert [base64.b64decode(one.b64_json or "")[:4] for one in reply.data] == [b"\x89PNG"] * 2
        assert reply.usage is not None
        assert reply.usage.input_tokens > 0
        stream = client.images.generate(
            prompt="a cat", model="mock-model", stream=True, partial_images=2, size="256x256"
        )
        kinds = [event.type.removeprefix("image_generation.") for event in stream]
        assert kinds == ["partial_image", "partial_image", "completed"]
        client.close()
