"""A process that makes more requests if a load is raised after all its requests were made before it began.

The change starts the process, since most loads are never raised. Until the process is ready, the change waits, or the
requests in stock suffice. If neither is enough (a tokenizer that loads slowly, busy processors), the sending process
makes the requests and counts them as late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.clock import NS_PER_S
from bench.errors import BenchError
from bench.load.feed import FeedProcess, ProcessFeed

if TYPE_CHECKING:
    from bench.load.assignment import Assignment
    from bench.modes.share import WorkerShare
    from bench.workload.stock import Backlog

READY_NS = 2 * NS_PER_S
"""A feed counts as ready this long after its start. It needs about 0.5 s of an idle processor."""


def lead_ns(stocked: Iterable[int | None], load: float, planned: float | None) -> int:
    """How long a change to this load has to wait for the feeds of its workers.

    `stocked`: for each worker, the requests that are ready if nothing makes more, else None. Requests made for the
    planned load suffice for any load that is not higher.
    """
    unfed = [requests for requests in stocked if requests is not None]
    if not unfed or planned is None or load <= planned or sum(unfed) * NS_PER_S >= load * READY_NS:
        return 0
    return READY_NS


def may_need_more(share: WorkerShare) -> bool:
    """Whether a load above the planned one sends more requests: it is limited by time, not by their number."""
    return share.requests is None or share.until_ns is not None


class FeedOnChange:
    """Watches a stock that nothing refills. Close it."""

    def __init__(self, assignment: Assignment, backlog: Backlog, *, requests: int, most_bytes: int) -> None:
        """`requests` and `most_bytes`: the most that is kept ready."""
        self._assignment = assignment
        self._backlog = backlog
        self._room = requests, most_bytes
        self._planned = assignment.config.load.load_at(0)
        self._feed: ProcessFeed | None = None
        self._starting: asyncio.Task[None] | None = None
        self.ready = False
        """Whether the process makes requests now."""

    @property
    def stocked(self) -> int | None:
        """Requests in stock, as long as nothing makes more."""
        return None if self.ready else self._backlog.stock.requests

    def load_changes(self, load: float) -> None:
        """The load of all workers will be this one: start the process if it is higher than planned."""
        if self._starting is None and self._planned is not None and load > self._planned:
            process = FeedProcess(self._assignment.config, loading=True)
            self._feed = ProcessFeed(self._assignment, self._backlog, process)
            self._starting = asyncio.get_running_loop().create_task(self._get_ready(self._feed))

    async def _get_ready(self, feed: ProcessFeed) -> None:
        stock = self._backlog.stock
        made = stock.made
        try:
            await feed.begin(made)
        except BenchError:
            return  # It has reported why. Requests are made in the sending process, and the run reports that they were late.
        feed.leave_out(stock.made - made)
        stock.feed_from(feed, requests=self._room[0], most_bytes=self._room[1])
        self.ready = True

    def close(self) -> None:
        """End what was started."""
        if self._starting is not None:
            self._starting.cancel()
        if self._feed is not None:
            self._feed.close()
