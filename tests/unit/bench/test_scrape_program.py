"""The process that reads a server's metrics: its requests, when it stops waiting, and what it passes on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from bench import trust
from bench.clock import NS_PER_S
from bench.server_metrics.exposition import Page
from bench.target import scrape_program
from bench.target.page_connection import NoPage
from bench.target.scrape_program import HttpPage, Watch
from bench.target.scrape_task import FirstScrape, ScrapePage, ScrapeTask, ServerNow

S = NS_PER_S
START_NS = 7 * S


def counted(tokens: float, running: float = 0.0) -> Page:
    return Page({"vllm:prompt_tokens_total": tokens, "vllm:num_requests_running": running}, {})


def test_certificates_are_read_only_if_a_page_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "context", lambda task: task)
    plain, secret = (ScrapePage(f"{scheme}://h/metrics") for scheme in ("http", "https"))
    for pages, needed in (([plain, plain], False), ([plain, secret], True)):
        task: Any = SimpleNamespace(pages=pages)
        assert scrape_program._context(task) is (task if needed else None)


class Played:
    """The pages by URL, the other end of the socket, and a time that passes only during waits."""

    def __init__(
        self, pages: Mapping[str, Sequence[Page | str]], over_after_s: float = 0.0, read_s: Sequence[float] = ()
    ) -> None:
        self.ns = START_NS
        self.pages, self.read_s = {url: list(of) for url, of in pages.items()}, list(read_s)
        self.over_ns = self.ns + round(over_after_s * S)
        self.sent: list[tuple[float, Any]] = []
        self.asked_s: list[float] = []

    def now_ns(self) -> int:
        return self.ns

    def page(self, page: ScrapePage, context: object, proxy: object) -> SimpleNamespace:
        def read() -> Page | str:
            left = self.pages[page.url]
            self.asked_s.append((self.ns - START_NS) / S)
            self.ns += round((self.read_s.pop(0) if self.read_s else 0.0) * S)
            return left.pop(0) if len(left) > 1 else left[0]

        return SimpleNamespace(read=read)

    def poll(self, seconds: float) -> bool:
        if self.over_ns <= self.ns + round(seconds * S):
            self.ns = max(self.ns, self.over_ns)
            return True
        self.ns += round(seconds * S)
        return False

    def recv(self) -> None:
        self.sent.append(((self.ns - START_NS) / S, "received"))
        self.over_ns = 1 << 62  # Nothing more will be received.

    def send(self, value: object) -> None:
        self.sent.append(((self.ns - START_NS) / S, value))


def watch(played: Played, folder: Path, monkeypatch: pytest.MonkeyPatch, pages: Sequence[ScrapePage] = ()) -> Watch:
    monkeypatch.setattr(scrape_program, "clock", played)
    monkeypatch.setattr(scrape_program, "HttpPage", played.page)
    pages = pages or [ScrapePage("http://h/metrics")]
    return Watch(ScrapeTask(tuple(pages), str(folder / "server"), str(folder / "gpu")), played)  # type: ignore[arg-type]


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_only_pages_that_have_metrics_are_read_on_and_named_ones_that_have_none_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Page({"python_info": 1.0}, {})
    answers: dict[str, Page | str] = {
        "a": counted(5.0), "b": "status 404", "c": other, "d": other, "e": "refused", "f": "status 500",
    }  # fmt: skip
    played = Played({f"http://{name}/": [answer] for name, answer in answers.items()})
    pages = [
        ScrapePage("http://a/", address="10.0.0.1"), ScrapePage("http://b/"), ScrapePage("http://c/"),
        ScrapePage("http://d/", looked_for=True), ScrapePage("http://e/", looked_for=True), ScrapePage("http://f/", gpu=True),
    ]  # fmt: skip
    watching = watch(played, tmp_path, monkeypatch, pages)
    assert watching.first() == FirstScrape(
        (
            "--server-metrics: http://b/ has no metrics (status 404)",
            "--server-metrics: http://c/ has, before the load, no metric that Trueload knows (docs/server-metrics.md)",
            "--gpu-metrics: http://f/ has no metrics (status 500)",
        ),
        goes_on=True,
    )
    # Then the two with samples, until they count nothing more: twice.
    assert [(line["page"], line.get("url")) for line in lines(tmp_path / "server")] == [
        (0, "http://a/ (10.0.0.1)"), (2, "http://c/"), (0, None), (2, None), (0, None), (2, None),
    ]  # fmt: skip
    assert not (tmp_path / "gpu").exists()


def test_where_no_page_has_metrics_there_is_no_file_and_nothing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [ScrapePage("http://a/", looked_for=True)]
    played = Played({"http://a/": ["refused"]})
    assert watch(played, tmp_path, monkeypatch, pages).first() == FirstScrape((), goes_on=False)
    assert ([*tmp_path.iterdir()], played.asked_s) == ([], [0.0])


def test_the_second_usual_page_of_a_server_is_read_only_if_the_first_has_no_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played({"http://a/metrics?k=v": ["status 404"], "http://a/prometheus/metrics?k=v": [counted(5.0)],
                     "http://b/metrics": [counted(5.0)]})  # fmt: skip
    urls = [*played.pages, "http://b/prometheus/metrics"]  # The test plays nothing for the last.
    watching = watch(played, tmp_path, monkeypatch, [ScrapePage(url, looked_for=True) for url in urls])
    assert watching.first().goes_on
    assert {line["url"] for line in lines(tmp_path / "server")[:2]} == {urls[1].replace("k=v", "k=***"), urls[2]}


def test_a_page_that_is_not_read_twice_hides_none_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played({f"http://{host}/metrics": [counted(5.0)] for host in "ab"})
    urls = ["http://a/metrics", "http://a/prometheus/metrics", "http://b/metrics"]
    watching = watch(played, tmp_path, monkeypatch, [ScrapePage(url, looked_for=True) for url in urls])
    assert watching.first() == FirstScrape((), goes_on=True)
    assert [line["url"] for line in lines(tmp_path / "server")[:2]] == [urls[0], urls[2]]


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_first_scrapes_are_sent_before_the_load_begins(goes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    first = FirstScrape((), goes_on)
    connection = SimpleNamespace(recv=lambda: "task", send=done.append)

    def watching(task: object, of: object) -> SimpleNamespace:
        assert (task, of) == ("task", connection)
        return SimpleNamespace(first=lambda: first, go_on=lambda: done.append("goes on"))

    monkeypatch.setattr(scrape_program, "Watch", watching)
    monkeypatch.setattr(scrape_program, "give_way", lambda: done.append("gives way"))
    scrape_program._scrape(connection)  # type: ignore[arg-type]
    assert done == ["gives way", first, *(["goes on"] if goes_on else [])]


def test_what_is_written_may_be_read_by_all_and_run_by_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        watch(Played({"http://h/metrics": [counted(5.0)]}), tmp_path, monkeypatch).first()
    finally:
        os.umask(before)
    assert (tmp_path / "server").stat().st_mode & 0o777 == 0o644


def test_gpus_have_a_file_of_their_own_and_count_nothing_that_must_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played({"http://g/": [Page({"DCGM_FI_DEV_POWER_USAGE": 300.0}, {})]})
    watching = watch(played, tmp_path, monkeypatch, [ScrapePage("http://g/", gpu=True)])
    assert watching.first().goes_on
    assert (len(lines(tmp_path / "gpu")), (tmp_path / "server").exists()) == (1, False)
    watching.go_on()
    assert played.sent == [(0.0, "received"), (0.0, None)]
    assert len(lines(tmp_path / "gpu")) == 2


@pytest.mark.parametrize(
    ("pages", "asked"),
    [
        ([counted(5.0)], 2),
        ([counted(5.0), counted(6.0), counted(6.0)], 3),
        ([counted(5.0, running=1.0)] * 3 + [counted(5.0)], 4),
        (["status 500"], 1),  # Nothing is known, and more scrapes would not help.
    ],
)
def test_a_scrape_settles_once_nothing_runs_and_the_counts_stay(
    pages: list[Page | str], asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played({"http://h/metrics": pages}, over_after_s=100.0)
    watch(played, tmp_path, monkeypatch)._settle()
    assert played.asked_s == pytest.approx([0.03 * n for n in range(asked)])


def test_a_server_that_never_rests_is_waited_for_three_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played({"http://h/metrics": [counted(5.0, running=1.0)]}, over_after_s=100.0)
    watch(played, tmp_path, monkeypatch)._settle()
    assert played.asked_s[-1] == pytest.approx(3.0)


def test_a_late_scrape_goes_on_at_the_next_second_and_the_last_one_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second scrape takes 1.5 s, so the scrape of the third second is left out.
    played = Played({"http://h/metrics": [counted(5.0, 2.0)] * 3 + [counted(8.0)]}, 4.5, [0.25, 1.5])
    watch(played, tmp_path, monkeypatch).go_on()
    assert played.asked_s == pytest.approx([1.0, 2.0, 4.0, 4.5, 4.53])
    running = ServerNow({"running": 2.0})
    assert played.sent == [
        (1.25, running), (3.5, running), (4.0, running), (4.5, "received"), (pytest.approx(4.53), None),
    ]  # fmt: skip
    assert len(lines(tmp_path / "server")) == 5


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"up 1\n", Page({"up": 1.0}, {"up": "unknown"})),
        (b"<html>", "no page of metrics in Prometheus' text format"),
        (NoPage("status 404"), "status 404"),
    ],
)
def test_a_page_is_read_or_it_is_said_why_not(
    answer: bytes | NoPage, found: Page | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def connection(*of: object) -> SimpleNamespace:
        asked.append(of)
        return SimpleNamespace(get=get)

    def get() -> bytes:
        if isinstance(answer, NoPage):
            raise answer
        return answer

    monkeypatch.setattr(scrape_program, "PageConnection", connection)
    page = ScrapePage("http://h:1/metrics", (("x", "y"),), address="10.0.0.1")
    assert HttpPage(page, None, None).read() == found
    assert asked == [("http://h:1/metrics", (("accept", "text/plain"), ("x", "y")), 5.0, None, None, "10.0.0.1")]
