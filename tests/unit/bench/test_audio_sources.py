"""Audio clips of requests: generated, from a file, and in invalid combinations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.load.components import source_of, tokenizer_of
from bench.load.worker import needs_feed
from promptset.audio import wav_file
from promptset.samples import Audio, Sample

GIVEN = {"url": "http://127.0.0.1:1", "endpoint": "transcriptions"}
SECOND = wav_file(bytes(2 * 8_000), 8_000)


def samples(count: int, **given: Any) -> list[Audio]:
    config = resolve({**GIVEN, **given})
    assert tokenizer_of(config) is None
    source = source_of(config, None)
    found = [source.at(number) for number in range(count)]
    assert all(isinstance(sample, Sample) for sample in found)
    return [sample.audio for sample in found]


def refusals(**given: Any) -> list[str]:
    with pytest.raises(UsageError) as refused:
        source_of(resolve({**GIVEN, **given}), None)
    return list(refused.value.problems)


def test_clips_are_made_of_the_length_that_was_asked_for() -> None:
    assert {clip.length_ns for clip in samples(3)} == {5_000_000_000}
    (clip,) = samples(1, audio="length=250ms,rate=8000")
    assert (clip.length_ns, len(clip.data), clip.name) == (250_000_000, 44 + 4_000, "clip.wav")
    config = resolve({**GIVEN, "requests": 10_000})
    assert needs_feed(config)
    assert source_of(config, None).notes == (
        "the audio is noise of exact length: servers that look for speech may answer with no text",
    )


def rows(folder: Path, *lines: object) -> str:
    (folder / "a.wav").write_bytes(SECOND)
    (folder / "b.mp3").write_bytes(b"ID3 no wav")
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_rows_name_files_beside_them_with_transcripts_and_lengths(tmp_path: Path) -> None:
    path = rows(
        tmp_path,
        {"audio": "a.wav", "text": "Hello."},
        {"audio": "b.mp3", "length_s": 2.5},
        {"audio": "b.mp3", "text": ""},
    )
    found = samples(4, dataset=path)
    assert found[0] == found[3] == Audio(SECOND, "a.wav", 1_000_000_000, "Hello.")
    assert [(clip.name, clip.length_ns, clip.reference) for clip in found[1:3]] == [
        ("b.mp3", 2_500_000_000, None), ("b.mp3", None, None),
    ]  # fmt: skip
    source = source_of(resolve({**GIVEN, "dataset": path}), None)
    assert source.notes == (
        "the length of 1 of 3 clips is not known, so they have no RTF: a column length_s says it of files that are no WAV",
    )
    assert (source.size, source.untimed()) == (3, "row 1 has none")
    assert samples(1, dataset=str(tmp_path / "a.wav")) == [Audio(SECOND, "a.wav", 1_000_000_000)]


def test_rows_with_times_are_sent_at_them(tmp_path: Path) -> None:
    path = rows(tmp_path, {"audio": "b.mp3", "at_s": 12}, {"audio": "a.wav", "at_s": "10.5"})
    source = source_of(resolve({**GIVEN, "dataset": path, "mode": "trace"}), None)
    assert list(source.times_s()) == [0, 1.5]
    assert source.at(0).audio.name == "a.wav"
    untimed = source_of(resolve({**GIVEN, "dataset": path}), None)
    assert untimed.at(0).audio.name == "b.mp3", "other modes keep the order of the file"


def test_wrong_rows_are_all_named(tmp_path: Path) -> None:
    path = rows(tmp_path, {"audio": "c.wav"}, {"text": "x"}, [1], {"audio": "a.wav", "length_s": -1, "text": 3})
    found = refusals(dataset=path)
    assert [problem.split(": ", 1)[1] for problem in found] == [
        f"the audio file {tmp_path / 'c.wav'} cannot be read (No such file or directory)",
        'audio must name a file, for example {"audio": "clip.wav", "text": "what is said"}',
        "it is not an object",
        "text, the right transcript, must be a text",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"audio": "length=1s", "endpoint": "messages"},
            "--audio needs --endpoint chat, transcriptions or realtime, and the endpoint is messages",
        ),
        ({"input_tokens": "5"}, "--input-tokens is about prompts, and --endpoint transcriptions sends audio clips"),
        ({"mode": "sessions"}, "--mode sessions needs an endpoint of chats"),
        ({"dataset": "chatbot", "audio": "length=1s"}, "a recipe makes prompts"),
        ({"dataset": __file__, "audio": "length=1s"}, "--audio and --dataset cannot be combined"),
        ({"extra_body": {"response_format": "srt"}}, "response_format 'srt' cannot be read: use json or verbose_json"),
        ({"audio": "length=5"}, "is a time without a unit"),
        ({"slo": ("rtf<1",), "endpoint": "chat"}, '--slo "rtf<1": the endpoint chat has no rtf'),
        ({"until": ("wer:mean=10%",), "endpoint": "chat"}, "the endpoint chat has no wer"),
        ({"slo": ("rtf<1",), "endpoint": "rerank"}, "so there is no rtf"),
        ({"slo": ("rtf<1s",)}, "rtf has no unit and takes no 's'"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], words: str) -> None:
    assert [problem for problem in refusals(**given) if words in problem], refusals(**given)


def test_objectives_may_be_on_the_metrics_of_audio() -> None:
    config = resolve({**GIVEN, "slo": ("rtf:p90<0.5", "wer:mean<8%"), "stream": False, "until": ("rtf:p90=5%",)})
    assert [(one.metric, one.stat, one.limit) for one in config.objectives] == [
        ("rtf", "p90", 0.5),
        ("wer", "mean", 0.08),
    ]
