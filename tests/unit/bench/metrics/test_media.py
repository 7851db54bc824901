"""Images, audio and video in chats: the counts in the summary, and the rows of the report."""

from __future__ import annotations

from bench.documents import token_details
from bench.metrics.media import Media
from bench.records import RequestRecord
from bench.records.record_table import RecordTable
from bench.results.summary import RunSummary
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.results import filled


def record(index: int, size: int | None, text: int | None) -> RequestRecord:
    return replace(made_record(index, sent_ms=100.0 * index), media_bytes=size, text_tokens_asked=text)


def test_bytes_and_text_tokens_are_of_requests_that_have_any() -> None:
    media = Media()
    media.add(RecordTable([record(0, 1000, 20), record(1, None, None)]))
    media.add(RecordTable([record(2, 0, None), record(3, 3000, 40)]))
    found = media.describe()
    assert found is not None
    assert (found.requests, found.bytes.mean, found.bytes.max, found.bytes.min) == (3, 4000 / 3, 3000, 0)
    assert (found.text_tokens.n, found.text_tokens.mean) == (2, 30)
    assert Media().describe() is None


def test_the_report_says_how_much_of_a_request_is_text() -> None:
    summary = filled(RunSummary, made_summary([record(0, 1000, 20), record(1, 3000, 40)]))
    rows = {fact.name: fact.value for fact in token_details.tokens(summary)}
    assert rows["Images, audio, video"] == "average 2,000 bytes · max 3,000 · in 2 requests"
    assert rows["Text beside them"] == "average 30 tokens · max 40"
    bare = filled(RunSummary, made_summary([record(0, None, None)]))
    assert bare.media is None
    assert "Images, audio, video" not in {fact.name for fact in token_details.tokens(bare)}
