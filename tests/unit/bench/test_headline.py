"""The headline of a run: the same words and range in every form, computed from the intervals of the summary."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bench.documents import run_document
from bench.documents.document import Level
from bench.results.base import to_plain
from bench.results.numbers import QUANTILES
from bench.results.summary import RunSummary
from bench.verdict import headline
from bench.verdict.headline import PERCENTILES
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_markdown, run_page, run_text
from tests.support.results import filled


def _summary(n: int, status: str = "VALID", **fields: Any) -> Any:
    """Independent requests: neighbouring values are unrelated."""
    values = [50.0 + (i * 7919 % 1009) / 10 for i in range(n)]
    records = [made_record(i, sent_ms=i * 9.0, chunks_ms=(v, v + 10), **fields) for i, v in enumerate(values)]
    return made_summary(records, status)


def _words(summary: Any) -> str:
    return str(headline.of(filled(RunSummary, summary), summary["verdict"]["status"], proxy=None))


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "VALID, no request: no percentile can be given"),
        (1, "VALID, 1 request: no percentile of TTFT can be given"),
        (3, "VALID, 3 requests: no percentile of TTFT can be given"),
        (40, "VALID, 40 requests: median of TTFT can be given, no P90"),
        (100, "VALID, 100 requests: median and P90 of TTFT can be given, no P99"),
        (240, "VALID, 240 requests: median, P90 and P95 of TTFT can be given, no P99"),
        (1200, "VALID, 1,200 requests: median, P90, P95 and P99 of TTFT can be given"),
        (9000, "VALID, 9,000 requests: median, P90, P95, P99 and P99.9 of TTFT can be given"),
    ],
)
def test_the_headline_names_the_percentiles_that_have_an_interval(n: int, words: str) -> None:
    summary = _summary(n)
    assert _words(summary) == words
    row = summary["latency"]["ttft_ms"]
    reach = headline.reach_of(filled(RunSummary, summary))
    assert to_plain(reach.result()) == {
        "metric": "ttft" if n else "e2el",
        "requests": n,
        "independent": row["independent"],
        "percentiles": [name for name in PERCENTILES if name not in row["too_few"] and n],
        "highest": reach.highest,
    }


def test_a_percentile_without_an_interval_is_never_named() -> None:
    summary = _summary(1200)
    summary["latency"]["ttft_ms"]["ci95"]["p99"] = None
    assert _words(summary) == "VALID, 1,200 requests: median, P90 and P95 of TTFT can be given, no P99"


def test_requests_that_depend_on_each_other_reach_less_far() -> None:
    # A slow wave: each value is close to its neighbours, so 240 of them are worth only a few.
    records = [made_record(i, sent_ms=i * 9.0, chunks_ms=(50.0 + i / 10, 100.0)) for i in range(240)]
    assert _words(made_summary(records)) == "VALID, 240 requests: no percentile of TTFT can be given"


def test_replies_that_are_not_streamed_have_e2el_as_their_latency() -> None:
    ends = [START_NS + i * 9 * MS + (500 + i * 7919 % 1009) * MS // 10 for i in range(100)]
    summary = made_summary([made_record(i, sent_ms=i * 9.0, chunks_ms=(), end_ns=end) for i, end in enumerate(ends)])
    assert headline.reach_of(filled(RunSummary, summary)).metric == "e2el"
    assert _words(summary) == "VALID, 100 requests: median and P90 of E2EL can be given, no P99"


def test_numbers_that_must_not_be_used_bear_nothing() -> None:
    for status in ("INVALID", "FAILED"):
        assert _words(_summary(240, status)) == f"{status}, 240 requests"
    assert _words(_summary(240, "SUSPECT")).startswith("SUSPECT, 240 requests: median, ")


def test_a_part_of_the_headline_stands_between_the_requests_and_the_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headline, "PARTS", (*headline.PARTS, lambda summary: "7 retried", lambda summary: None))
    assert _words(_summary(1)) == "VALID, 1 request, 7 retried: no percentile of TTFT can be given"


def test_every_named_percentile_is_one_of_the_summary() -> None:
    assert list(PERCENTILES) == [name for name in QUANTILES if name in run_document.STATS]


def _shown(summary: Any) -> dict[str, str]:
    """The headline as each renderer writes it."""
    heading = re.search(r'<h2 id="verdict">(.*?)</h2>', run_page(summary))
    assert heading is not None
    return {
        "text": run_text(summary).splitlines()[1],
        "quiet": run_text(summary, level=Level.BRIEF).splitlines()[0],
        "page": re.sub(r"<span class=\"mark\".*?</span>|<[^>]*>", "", heading[1]),
        "markdown": next(line for line in run_markdown(summary).splitlines() if line.startswith("**")).replace("*", ""),
    }


@pytest.mark.parametrize(
    ("n", "status"),
    [
        *((n, "VALID") for n in (0, 1, 40, 240)),
        *((n, status) for n in (0, 240) for status in ("SUSPECT", "INVALID", "FAILED")),
    ],
)
def test_every_renderer_writes_the_same_headline(n: int, status: str) -> None:
    summary = _summary(n, status)
    assert set(_shown(summary).values()) == {_words(summary)}
