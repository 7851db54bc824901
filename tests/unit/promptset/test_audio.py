"""Audio clips: WAV files of exact length, all different; and the length of users' files."""

from __future__ import annotations

import hashlib
import io
import wave
from pathlib import Path

import pytest

from promptset.audio import names_clips, parse, samples_of, wav_file, wav_length_ns
from promptset.errors import SpecError

MS = 1_000_000


def opened(content: bytes) -> tuple[int, int, int, int]:
    with wave.open(io.BytesIO(content)) as file:
        return file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()


def test_a_clip_is_a_wav_file_of_exactly_its_length() -> None:
    content, length_ns = parse("length=2500ms,rate=8000").clip(0, None, 3)
    assert (opened(content), length_ns) == ((1, 2, 8_000, 20_000), 2_500 * MS)
    # The length is rounded to whole samples.
    content, length_ns = parse("length=10.03ms,rate=4000").clip(0, None, 0)
    assert (opened(content)[3], length_ns) == (40, 10 * MS)


def test_the_seed_decides_the_lengths_and_the_salt_the_noise() -> None:
    plan = parse("length=uniform:1s..3s")
    assert plan.clip(1, "a", 0) == plan.clip(1, "a", 0)
    one, again, other = plan.clip(1, "a", 0), plan.clip(1, "b", 0), plan.clip(1, "a", 1)
    assert one[1] == again[1] != other[1]
    assert one[0] != again[0]
    assert all(1_000 * MS <= plan.clip(0, None, number)[1] <= 3_000 * MS for number in range(50))


def test_a_clip_is_quiet() -> None:
    content, _ = parse("length=1s").clip(0, None, 0)
    with wave.open(io.BytesIO(content)) as file:
        samples = memoryview(file.readframes(16_000)).cast("h")
    assert max(map(abs, samples)) <= 2**15 // 16
    assert len(set(samples)) > 1_000


def test_the_length_of_a_file_is_that_of_the_samples_that_are_there() -> None:
    content = wav_file(bytes(2 * 4_000), 8_000)
    assert wav_length_ns(content) == 500 * MS
    assert wav_length_ns(content[: 44 + 2 * 1_000]) == 125 * MS  # Cut off: the header promises more.
    streamed = content[:40] + b"\xff\xff\xff\xff" + content[44:]
    assert wav_length_ns(streamed) == 500 * MS
    assert [wav_length_ns(other) for other in (b"", b"ID3 an mp3", content[:30], b"RIFF")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write some of length, rate once each"),
        ("n=1", "write some of length, rate once each"),
        ("rate=3", "'3' is not a number of samples a second from 4000 to 192000"),
        ("length=5", "'5' is a time without a unit"),
        ("length=exp:mean=1s", "draws lengths outside 10ms to 3600s: limit it with min and max"),
    ],
)
def test_a_wrong_plan_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(text)
    assert words in " ".join(refused.value.problems)


def test_an_endpoint_may_take_clips_of_one_rate_only() -> None:
    assert parse("length=5s", 24_000).rate == parse("length=5s,rate=24000", 24_000).rate == 24_000
    with pytest.raises(SpecError, match="this endpoint takes clips of 24000 samples a second, and not of 16000"):
        parse("rate=16000", 24_000)


@pytest.mark.parametrize(("rate", "width", "channels", "taken"), [
    (24_000, 2, 1, True), (16_000, 2, 1, False), (24_000, 1, 1, False), (24_000, 2, 2, False),
])  # fmt: skip
def test_samples_are_taken_of_one_form_of_wav_only(rate: int, width: int, channels: int, taken: bool) -> None:
    samples = bytes(range(12))
    with io.BytesIO() as content, wave.open(content, "wb") as file:
        file.setframerate(rate)
        file.setsampwidth(width)
        file.setnchannels(channels)
        file.writeframes(samples)
        clip = content.getvalue()
    if taken:
        assert samples_of(clip, 24_000, "a.wav") == samples
    for other in ([] if taken else [clip]) + [b"", b"ID3 an mp3", clip[:20]]:
        with pytest.raises(SpecError, match="must be a WAV file of 24,000 samples a second, 16-bit"):
            samples_of(other, 24_000, "a.wav")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("clip.wav", b"no audio at all", True),
        ("clip.WAV", b"", True),
        ("rows.jsonl", b'{"audio": "a.wav"}\n{"prompt": "Hi"}\n', True),
        ("rows.json", b'[{"audio": "a.wav"}]', True),
        ("rows.csv", b"audio,text\na.wav,Hi\n", True),
        ("numbers.jsonl", b'{"audio": 7}\n', False),
        ("prompts.jsonl", b'{"prompt": "Hi"}\n{"audio": "a.wav"}\n', False),
        ("lists.jsonl", b'["audio"]\n', False),
        ("empty.jsonl", b"", False),
        ("wide.jsonl", '{"audio": "a.wav"}'.encode("utf-16"), False),
    ],
)
def test_a_data_set_names_clips_if_its_first_row_does(tmp_path: Path, name: str, content: bytes, named: bool) -> None:
    (tmp_path / name).write_bytes(content)
    assert names_clips(str(tmp_path / name)) is named


@pytest.mark.parametrize("name", ["missing.wav", "missing.jsonl", "."])
def test_what_is_no_file_names_no_clips(tmp_path: Path, name: str) -> None:
    assert names_clips(str(tmp_path / name)) is False


def test_the_clips_of_a_seed_stay_what_they_were() -> None:
    # A result states its seed, which must give the same clips on every machine and in every version.
    content, length_ns = parse("length=uniform:10ms..90ms,rate=8000").clip(5, "a", 2)
    assert length_ns == 55_625_000
    assert hashlib.sha256(content).hexdigest()[:16] == "abdbdde20bd84e6c"


def test_what_is_not_said_of_a_clip_is_the_usual() -> None:
    assert (parse("length=5s").rate, parse("rate=8000").length.constant) == (16_000, 5_000 * MS)
    assert parse("length=5s", 24_000).rate == 24_000
    for rate in (4_000, 192_000):
        assert parse(f"rate={rate}").rate == rate
    for wrong in (3_999, 192_001):
        with pytest.raises(SpecError, match="is not a number of samples a second from 4000 to 192000"):
            parse(f"rate={wrong}")
    for length in ("10ms", "3600s"):
        parse(f"length={length}")
    for length in ("9999us", "3600.001s"):
        with pytest.raises(SpecError, match="draws lengths outside 10ms to 3600s: limit it with min and max"):
            parse(f"length={length}")
    with pytest.raises(SpecError, match="write some of length, rate once each, for example length=5s,rate=16000"):
        parse("5s,rate=8000")
