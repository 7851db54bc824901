"""The program that reads a server's metrics during a load, started by `scraper.py`.

It scrapes before the load, once a second at fixed times, and once more after the load. The first and the last scrape
wait until the server's counters have settled. The process has the idle scheduling class, so it delays nothing; a late
scrape is stamped with its actual time.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from multiprocessing.connection import Connection

from bench import clock, trust
from bench.clock import NS_PER_S
from bench.process import child_process
from bench.process.priority import give_way
from bench.proxy import Proxy
from bench.secrets import public_url
from bench.server_metrics.exposition import Page, PageReader
from bench.server_metrics.gpus import GPUS
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import COUNTERS, LEVELS, SHARES, Role
from bench.server_metrics.scrapes import Scrape, ScrapeLines
from bench.server_metrics.servers import SERVERS
from bench.target.gpu_pages import DRIVERS
from bench.target.page_connection import NoPage, PageConnection
from bench.target.scrape_task import METRICS, METRICS_OF_TRTLLM, FirstScrape, ScrapePage, ScrapeTask, ServerNow

TIMEOUT_S = 5.0
SETTLED_WITHIN_S = 3.0
"""A server counts a request a moment after its last byte: its counters may change for this long."""
_EVERY_NS = NS_PER_S
SETTLING_EVERY_S = 0.03


class HttpPage:
    """One page of metrics, on its own connection."""

    def __init__(self, page: ScrapePage, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        headers = (("accept", "text/plain"), *page.headers)
        self._connection = PageConnection(page.url, headers, TIMEOUT_S, context, proxy, page.address)
        self._pages = PageReader()

    def read(self) -> Page | str:
        try:
            page = self._pages.read(self._connection.get())
        except NoPage as e:
            return str(e)
        return "no page of metrics in Prometheus' text format" if page is None else page


class Source:
    """A page, and the lines made from it."""

    def __init__(self, number: int, page: ScrapePage, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        self.page = page
        self._number = number
        driver = DRIVERS.get(page.url)
        self._reader = HttpPage(page, context, proxy) if driver is None else driver()
        self._lines = ScrapeLines(number, self.url)

    @property
    def url(self) -> str:
        at = "" if self.page.address is None else f" ({self.page.address})"
        return self.page.url if self.page.url in DRIVERS else public_url(self.page.url) + at

    def scrape(self) -> tuple[Scrape, bytes]:
        """Scrape now. Returns the scrape and its line."""
        asked_ns = clock.now_ns()
        samples = self._reader.read()
        t_ns = clock.now_ns()
        line = self._lines.line(asked_ns, t_ns, samples)
        if isinstance(samples, str):
            return Scrape(t_ns=t_ns, asked_ns=asked_ns, page=self._number, values={}, error=samples), line
        return Scrape(t_ns=t_ns, asked_ns=asked_ns, page=self._number, values=samples.values), line

    def lacks(self, scrape: Scrape) -> str | None:
        """What is missing, as the end of a sentence. Returns None if the page has known metrics."""
        if scrape.error is not None:
            return f"has no metrics ({scrape.error})"
        if ServerSeries((*SERVERS, *GPUS)).add_all([scrape]).found:
            return None
        return "has, before the load, no metric that Trueload knows (docs/server-metrics.md)"


def _write(fd: int, line: bytes) -> None:
    """Write a line. If the disk refuses it, it is lost: the load matters more."""
    try:
        while line:
            line = line[os.write(fd, line) :]
    except OSError:
        pass


def _context(task: ScrapeTask) -> ssl.SSLContext | None:
    if not any(page.url.startswith("https:") for page in task.pages):
        return None
    return trust.context(task)


class Watch:
    """All pages of a task, scraped together."""

    def __init__(self, task: ScrapeTask, connection: Connection) -> None:
        self._connection = connection
        self._task = task
        context = _context(task)
        self._sources = [Source(number, page, context, task.proxy) for number, page in enumerate(task.pages)]
        self._files: dict[str, int] = {}
        self._like = ServerSeries(SERVERS)

    def _write(self, source: Source, line: bytes) -> None:
        path = self._task.gpu_path if source.page.gpu else self._task.path
        if path not in self._files:
            self._files[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        _write(self._files[path], line)

    def _scrape(self) -> ServerSeries:
        """Scrape and store every page once. Returns the series of the server's pages."""
        series = ServerSeries(SERVERS, like=self._like)
        for source in self._sources:
            scrape, line = source.scrape()
            self._write(source, line)
            if not source.page.gpu:
                series.add(scrape)
        return series

    def _settle(self) -> None:
        """Scrape until nothing runs and the counters are stable, or until time is up."""
        until_ns = clock.now_ns() + round(SETTLED_WITHIN_S * NS_PER_S)
        before: Mapping[Role, float] | None = None
        while True:
            series = self._scrape()
            counts = _counts(series)
            done = not series.scrapes or (counts == before and not _level(series, Role.RUNNING))
            if done or clock.now_ns() >= until_ns:
                return
            before = counts
            self._connection.poll(SETTLING_EVERY_S)

    def first(self) -> FirstScrape:
        """The scrapes before the load. Pages without metrics are dropped."""
        sources: list[Source] = []
        problems: list[str] = []
        places: set[tuple[str, str | None]] = set()
        for source in self._sources:
            place = source.page.url.replace(METRICS_OF_TRTLLM, METRICS), source.page.address
            if source.page.looked_for and place in places:
                continue  # The server has the metrics on its usual page.
            scrape, line = source.scrape()
            lacks = source.lacks(scrape)
            if lacks is not None and not source.page.looked_for:
                flag = "--gpu-metrics" if source.page.gpu else "--server-metrics"
                problems.append(f"{flag}: {source.url} {lacks}")
            if scrape.error is None and (lacks is None or not source.page.looked_for):
                sources.append(source)
                places.add(place)
                self._write(source, line)
        self._sources = sources
        if any(not source.page.gpu for source in sources):
            self._settle()
        return FirstScrape(tuple(problems), bool(sources))

    def go_on(self) -> None:
        """Scrape until the load is over, and once more."""
        connection = self._connection
        due_ns = clock.now_ns() + _EVERY_NS
        while not connection.poll(max(due_ns - clock.now_ns(), 0) / NS_PER_S):
            series = self._scrape()
            connection.send(ServerNow({str(r): v for r in (*LEVELS, *SHARES) if (v := _level(series, r)) is not None}))
            # A late scrape skips the times that have passed.
            due_ns += _EVERY_NS * max(1, -(-(clock.now_ns() - due_ns) // _EVERY_NS))
        connection.recv()
        self._settle()
        connection.send(None)


def _level(series: ServerSeries, role: Role) -> float | None:
    return None if series.last_ns is None else _last(series, role, series.last_ns)


def _last(series: ServerSeries, role: Role, at_ns: int) -> float | None:
    level = series.level(role, at_ns, at_ns)
    return None if level is None else level[0]


def _counts(series: ServerSeries) -> Mapping[Role, float]:
    """All counters of the servers so far."""
    return {role: count for role in COUNTERS if (count := series.said(role)) is not None}


def main(descriptor: int) -> int:
    """Run the reading process: `descriptor` is the socket to the process that sends the load."""
    return child_process.serve(descriptor, _scrape)


def _scrape(connection: Connection) -> None:
    task: ScrapeTask = connection.recv()
    watch = Watch(task, connection)
    first = watch.first()
    give_way()  # The run waits for everything up to here, and begins the load on this message.
    connection.send(first)
    if first.goes_on:
        watch.go_on()
