"""A page of metrics as samples, and samples as the lines of server.jsonl."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.server_metrics.exposition import Page, PageReader, read_page
from bench.server_metrics.role_series import split_key
from bench.server_metrics.scrapes import ScrapeLines, read_scrapes, urls_in

PAGE = b"""# HELP vllm:num_requests_running Requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a \\"b\\" {c}"} 3.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0"} 120
# TYPE ttft histogram
ttft_bucket{le="0.1"} 1
ttft_bucket{le="+Inf"} 2
ttft_sum 0.5
ttft_count 2
# TYPE nothing gauge
nothing NaN
"""


def test_a_page_is_read_sample_by_sample_and_what_is_no_number_is_left_out() -> None:
    page = read_page(PAGE)
    assert page is not None
    assert page.values == {
        'vllm:num_requests_running{engine="0",model_name="a \\"b\\" {c}"}': 3.0,
        'vllm:prompt_tokens_total{engine="0"}': 120.0,
        'ttft_bucket{le="0.1"}': 1.0,
        'ttft_bucket{le="+Inf"}': 2.0,
        "ttft_sum": 0.5,
        "ttft_count": 2.0,
    }
    assert page.types["vllm:num_requests_running"] == "gauge"


def test_whole_numbers_of_many_digits_are_kept_as_far_as_a_file_takes_them() -> None:
    page = read_page(b"a 99999999999999999999\nb -99999999999999999999\nc 9007199254740993\nd " + b"9" * 400 + b"\n")
    assert page == Page({"a": 1e20, "b": -1e20, "c": 9007199254740993}, page.types if page else {})
    assert dict(next(iter(read_scrapes([ScrapeLines(0, "u").line(1, 2, page)]))).values) == {
        "a": 1e20,
        "b": -1e20,
        "c": 9007199254740992.0,
    }


def test_a_time_of_more_digits_than_a_double_takes_is_no_page_of_metrics() -> None:
    assert read_page(b"a 1 " + b"9" * 400 + b"\n") is None


def test_what_stands_for_an_unknown_number_is_left_out() -> None:
    page = read_page(b"a 1.7976931348623157e308\nb -1e31\nc 1e30\n")
    assert page is not None
    assert page.values == {"c": 1e30}
    row = b'{"t_ns":1,"asked_ns":1,"page":0,"values":{"a":%s}}\n'
    lines = [row % value for value in (b"1", b"1e308", b"null", b'"2"', b"3")]
    assert [dict(scrape.values) for scrape in [*read_scrapes(lines)][:1]] == [{"a": 3.0}]
    assert len([*read_scrapes(lines)]) == 2
    most = [row % value for value in (b"1e30", b"-1e30", b"1.0000001e30")]
    assert len([*read_scrapes(most)]) == 2
    assert [scrape.values["a"] for scrape in read_scrapes(most[:1])] == [1e30]


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html><html>", b'{"a": 1}', b"\xff\xfe\x00", b"# only a comment\n"]
)
def test_what_is_no_page_of_metrics_is_none(content: bytes) -> None:
    assert read_page(content) is None


COUNTS = b'# TYPE n counter\nn{a="x y",b="}"} %s\n# TYPE m gauge\nm %s\n'


def test_a_page_with_other_numbers_is_read_without_parsing_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PageReader()
    assert reader.read(COUNTS % (b"1", b"2.5")) == read_page(COUNTS % (b"1", b"2.5"))
    with monkeypatch.context() as parsed_no_more:
        parsed_no_more.setattr("bench.server_metrics.exposition._parsed", None)
        for numbers in ((b"3", b"NaN"), (b"1e3", b"-4"), (b"9" * 400, b"-0.5")):
            page = reader.read(COUNTS % numbers)
            assert page is not None
            assert list(page.values) == [key for key in ('n_total{a="x y",b="}"}', "m") if key in page.values]
        assert reader.read(COUNTS % (b"5", b"1_0")) is None
        assert reader.read(COUNTS % (b"5", b"6")) == Page(
            {'n_total{a="x y",b="}"}': 5, "m": 6}, {"n": "counter", "m": "gauge"}
        )


@pytest.mark.parametrize(
    "pages",
    [
        [b"a 1\n", b"b 2\n", b"a 3\nb 4\n", b"b 5\na 6\n", b""],  # Other samples, another order.
        [b"a 5 5\n", b"a 5 7\n"],  # A time.
        [b'a{b="c"} 5 # {d="e"} 5\n', b'a{b="c"} 5 # {d="e"} 6\n'],  # An exemplar.
        [b"a\t5 5\n", b"a\t5 6\n", b"a  5\n", b"a  6\n", b" # x\n a 5\r\n", b" # x\n a 6\r\n"],  # Other spaces.
        [b"# TYPE a counter\na 1\n", b"a 1\n# TYPE a counter\n", b"a 1\n", b"# TYPE a gauge\na 1\n"],
        [b"a 1\n", b"<html>\n", b"a 2\n", b"a x\n", b"a 3\n"],
    ],
)
def test_each_page_is_read_as_it_would_be_alone(pages: list[bytes]) -> None:
    reader = PageReader()
    assert [reader.read(content) for content in pages] == [read_page(content) for content in pages]


@given(st.binary(max_size=300))
def test_no_page_makes_it_fail(content: bytes) -> None:
    page = read_page(content)
    assert page is None or page.values


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.text(max_size=8), max_size=3))
def test_the_labels_of_a_whole_name_are_found_again(labels: dict[str, str]) -> None:
    from bench.server_metrics.exposition import sample_key

    assert split_key(sample_key("a:b_total", labels)) == ("a:b_total", labels)


def test_a_line_holds_what_has_changed_and_reading_gives_everything_again() -> None:
    pages = [
        {"a": 1.0, "b": 2.0},
        {"a": 1.0, "b": 3.0},
        {"a": 1.0, "b": 3.0, "c": 4.0},
        {"b": 3.0, "c": 4.0},
        {"a": 5.0, "b": 3.0, "c": 4.0},
    ]
    lines = ScrapeLines(0, "http://h/metrics")
    written = [lines.line(10 * i, 10 * i + 2, Page(values, {})) for i, values in enumerate(pages)]
    assert b"http://h/metrics" in written[0]
    assert b"values" not in written[1]
    assert b'"changed":{"1":3.0}' in written[1]
    found = []
    for scrape in read_scrapes(written):
        found.append(dict(scrape.values))
        assert scrape.at_ns == scrape.asked_ns + 1
    assert found == pages
    assert urls_in(written) == ["http://h/metrics"]


def test_a_scrape_that_failed_is_told_and_changes_nothing() -> None:
    lines = ScrapeLines(0, "u")
    written = [
        lines.line(0, 2, Page({"a": 1.0}, {})),
        lines.line(10, 12, "status 503"),
        lines.line(20, 22, Page({"a": 2.0}, {})),
    ]
    scrapes = [(scrape.error, dict(scrape.values)) for scrape in read_scrapes(written)]
    assert scrapes == [(None, {"a": 1.0}), ("status 503", {}), (None, {"a": 2.0})]


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_lines_that_are_not_ours_are_passed_over(lines: list[bytes]) -> None:
    good = ScrapeLines(0, "u").line(0, 2, Page({"a": 1.0}, {}))
    assert next(dict(s.values) for s in read_scrapes([good, *lines])) == {"a": 1.0}
