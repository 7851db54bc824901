"""A page of metrics: samples by name, or None; its lines can be read again."""

from __future__ import annotations

import math

from bench.server_metrics.exposition import PageReader, read_page
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import COUNTERS, HISTOGRAMS, LEVELS, SHARES
from bench.server_metrics.scrapes import ScrapeLines, read_scrapes
from bench.server_metrics.servers import SERVERS
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input: pages with a line `====` between them, scraped one after the other."""
    lines, made, reader = ScrapeLines(0, "http://h/metrics"), [], PageReader()
    for number, content in enumerate(data.split(b"\n====\n")[:4]):
        page = reader.read(content)
        assert page == read_page(content)
        if page is not None:
            assert all(math.isfinite(value) for value in page.values.values())
        made.append(lines.line(number * 10**9, number * 10**9 + 1, "no page" if page is None else page))
        *_, last = read_scrapes(made)
        # Whole numbers of many digits are kept as they came, and read as doubles.
        expected = {} if page is None else {name: float(value) for name, value in page.values.items()}
        assert dict(last.values) == expected
    _ask(ServerSeries(SERVERS).add_all(read_scrapes(made)))


def _ask(series: ServerSeries) -> None:
    """Everything that a report asks of the pages together."""
    start_ns, end_ns = 5 * 10**8, 25 * 10**8
    for role in (*LEVELS, *SHARES):
        series.level(role, start_ns, end_ns)
        series.level_at(role, start_ns)
    for role in COUNTERS:
        series.rise(role, start_ns, end_ns)
        series.said(role)
    for role in HISTOGRAMS:
        histogram = series.histogram(role, start_ns, end_ns)
        if histogram is not None:
            assert histogram.bounds_s == sorted(set(histogram.bounds_s))
            found = histogram.quantile_s(0.5), histogram.quantile_s(0.99), histogram.mean_s
            assert (found == (None, None, None)) is (histogram.count <= 0)


WORDS = (
    b"# TYPE a counter\n",
    b"# HELP a b\n",
    b"# TYPE h histogram\n",
    b'_bucket{le="1"} 2\n',
    b'{le="+Inf"}',
    b'{le="1.0"}',
    b'{le="x"}',
    b"vllm:time_to_first_token_seconds",
    b"_sum 1\n",
    b"_count 1\n",
    b" NaN\n",
    b" +Inf\n",
    b" 1e400\n",
    b"vllm:num_requests_running",
    b'{a="\\"",b="\\\\"}',
    b"\n====\n",
    b" 1 1700000000000\n",
    b"# EOF\n",
    b' # {a="b"} 1\n',
)
TARGET = Target(read, words=WORDS)
