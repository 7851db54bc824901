"""The program of a worker process, started by `processes.py`.

It receives its assignment from a socket, reports that it is ready, begins on command, and reports twice a second. If
the parent does not read the reports, the worker goes on and sends them later. If the socket closes, the parent has
died: the worker cuts what is in flight and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

from bench.clock import NS_PER_S, process_clock
from bench.errors import BenchError, Exit
from bench.load.active_load import ActiveLoad
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of, transport_of
from bench.load.crew import Order
from bench.load.feed import FeedProcess
from bench.load.progress_tally import ProgressTally, metrics_of
from bench.load.replies_in_flight import Arrived, Counted
from bench.load.supervision import Defects
from bench.load.worker import Worker, feed_ahead
from bench.process.event_loop import add_message_reader, loop_factory
from bench.records import RequestRecord
from bench.scale.messages import Begin, Change, Command, ProgressUpdate, Ready, Refused, WarmupEnds

REPORT_EVERY_NS = NS_PER_S // 2


class _Unreported:
    """Progress that the parent has not received yet."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self.tally = ProgressTally(metrics)

    def arrive(self, arrived: Arrived) -> None:
        """Requests in flight have received tokens."""
        self.tally.arrive(arrived)

    def add(self, record: RequestRecord, counted: Counted) -> None:
        """A request has ended."""
        self.tally.add(record, counted)

    def take(self) -> ProgressTally:
        tally, self.tally = self.tally, ProgressTally(self._metrics)
        return tally


async def _serve(parent: Connection) -> None:
    try:
        assignment: Assignment = parent.recv()
    except EOFError:
        return  # The parent died before it sent the assignment.
    feed = feed_ahead(assignment.config)
    try:
        await _work(parent, assignment, feed)
    finally:
        if feed is not None:
            feed.end()


async def _work(parent: Connection, assignment: Assignment, feed: FeedProcess | None) -> None:
    clock = process_clock()
    defects = Defects()
    tokenizer = tokenizer_of(assignment.config)
    transport = transport_of(assignment.config, tokenizer, clock, assignment.share.worker)
    worker: Worker | None = None
    await transport.open()
    try:
        source = source_of(assignment.config, tokenizer, assignment.share, salt=assignment.salt)
        worker = Worker(assignment, source, transport, clock, feed)
        await worker.prepare()
        parent.send(Ready(worker.stocked))
        # Nothing else happens until the parent has heard from every worker, so waiting may block.
        try:
            begin: Begin = parent.recv()
        except (EOFError, OSError):
            return  # The parent is gone, or another worker cannot start: there is no load.
        metrics = metrics_of(objective for objective in assignment.config.objectives if objective.part is None)
        news = _Unreported(metrics)
        load = worker.begin(begin.start_ns, news)
        defects.on_first = lambda: load.tell(Order.CUT)
        add_message_reader(parent, _obey, parent, load)

        def update() -> ProgressUpdate:
            counts = load.counts(clock.now_ns())
            return ProgressUpdate(
                counts, load.failures, load.client, news.take(), worker.stocked, time_over=load.time_over
            )

        def report() -> None:
            if _has_room(parent):
                parent.send(update())
            else:
                news.tally.fold()

        def report_regularly() -> None:
            report()
            clock.call_at(clock.now_ns() + REPORT_EVERY_NS, report_regularly)

        clock.call_at(begin.start_ns + REPORT_EVERY_NS, report_regularly)
        load.on_time_over = report
        report_at_end = await load.run()
        defects.raise_first()
        parent.send(update())
        parent.send(report_at_end)
    finally:
        if worker is not None:
            worker.close()
        await transport.close()
        clock.close()


def _has_room(parent: Connection) -> bool:
    """Whether a message can be sent without waiting: a parent that is stopped, or gets no processor, reads none."""
    waiting = select.poll()
    waiting.register(parent.fileno(), select.POLLOUT)
    return bool(waiting.poll(0))


def _obey(parent: Connection, load: ActiveLoad) -> None:
    try:
        message: Command | Change | WarmupEnds = parent.recv()
    except (EOFError, OSError):
        # The parent is gone. Requests that have ended are written; the rest are not needed.
        asyncio.get_running_loop().remove_reader(parent.fileno())
        message = Command(Order.CUT)
    if isinstance(message, Change):
        load.change(message.at_ns, message.load)
    elif isinstance(message, WarmupEnds):
        load.warmup_ends(message.at_ns)
    else:
        load.tell(message.order, message.reason)


def main(descriptor: int) -> int:
    """Run a worker: `descriptor` is the socket to the parent."""
    parent = Connection(descriptor)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(parent))
    except BenchError as e:
        with contextlib.suppress(OSError):
            parent.send(Refused(e))
        return int(e.exit_code)
    except (BrokenPipeError, ConnectionResetError):
        return 1  # The parent went away while we reported.
    except Exception:
        traceback.print_exc()
        return int(Exit.DEFECT)
    return 0
