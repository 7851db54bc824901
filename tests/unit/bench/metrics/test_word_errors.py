"""Word errors: words without case and punctuation, and the fewest edits between two lists of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics.audio_metrics import rtf, wer
from bench.metrics.word_errors import word_errors, words_of
from bench.records import StoredAnswer
from bench.records.record_table import RecordTable
from tests.support.made_records import MS, made_record
from tests.support.slow_metrics import edits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t stop -- it's OK!", ["don't", "stop", "it's", "ok"]),
        ("a_b 'quoted' x-ray", ["a", "b", "quoted", "x", "ray"]),
        ("你好 world日本", ["你", "好", "world", "日", "本"]),
        ("STRASSE Straße É", ["strasse", "strasse", "é"]),
        (" ... ", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, words: list[str]) -> None:
    assert words_of(text) == words


WORDS = st.lists(st.sampled_from("abcde"), max_size=80)


@given(WORDS, WORDS)
def test_the_errors_are_those_of_the_table_of_distances(reference: list[str], said: list[str]) -> None:
    assert word_errors(reference, said) == edits(reference, said)


def test_rates_by_hand() -> None:
    clip: dict[str, Any] = {"audio_sent_ns": 2_000 * MS, "reference": "The cat sat on the mat."}
    table = RecordTable([
        made_record(0, chunks_ms=(50, 1_000), **clip, answer=StoredAnswer(content="the cat sat on mat")),
        made_record(1, chunks_ms=(50, 4_000), **clip, answer=StoredAnswer(content="a cat sits on the mat mat")),
        made_record(2, chunks_ms=(50,), **clip, answer=StoredAnswer(content="")),
        made_record(3, chunks_ms=(50,), reference="...", answer=StoredAnswer(content="x")),
        made_record(4, chunks_ms=(50,), reference="a cat"),
    ])  # fmt: skip
    assert wer(table).tolist()[:3] == [pytest.approx(1 / 6), pytest.approx(3 / 6), 1]
    assert rtf(table).tolist()[:3] == [0.5, 2.0, 0.025]
    assert {str(of(table)[row]) for of in (wer, rtf) for row in (3, 4)} == {"nan"}
