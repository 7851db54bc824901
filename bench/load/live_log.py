"""live.jsonl: one line per second of a running load, for programs that watch it from another process.

The measuring loop makes the lines from existing tallies, and a thread writes them: a slow disk delays nothing. Reports
do not use them, so a line that cannot be written is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import orjson

from bench.load.worker_health import MOST_LISTED, slowest_first
from bench.metrics.catalog import METRICS
from bench.run_files.load_change import LoadChange
from bench.run_files.run_state import RunState

if TYPE_CHECKING:
    from bench.load.live import LiveNumbers, Second
    from bench.load.sampling import ClientState
    from bench.run_files.run_directory import LineLog

EVERY_S = 1.0

LIVE_FIELDS: Mapping[str, str] = {
    "t_ns": "When, on the clock of the records.",
    "elapsed_s": "Seconds since the load began.",
    "state": "`warming up`, `running` or `draining`.",
    "share_done": "The share of the load that is done, from 0 to 1; null if unknown.",
    "left_s": "About how many seconds are left; null if unknown.",
    "load": "Users, or requests per second, as planned now; null in modes that plan no number.",
    "planned": "Requests so far, with the warm-up. The same holds for the next four.",
    "sent": "Sent.",
    "done": "Ended.",
    "in_flight": "Sent and not yet ended.",
    "dropped": "Due and never sent.",
    "failed": "Requests that failed after the warm-up.",
    "failures": "Their number by outcome.",
    "second": "The last second: `succeeded`, `input_tokens`, `output_tokens`, `inputs`, `bytes_sent`, `bytes_received`, "
    "requests by HTTP `status`; and `ttft_ms`, `tpot_ms`, `itl_ms`, `e2el_ms`, each with `n`, `p50`, `p90`, `p99` (within "
    "0.1%) and a `histogram` (bin, count, bin, count; a bin is a fortieth of an octave of ns). `output_tokens` and "
    "`ttft_ms` include requests in flight.",
    "errors": "The message of the first request that failed in this second, by outcome.",
    "objectives": "Each objective with its `value` so far, its `unit`, and whether it is `held`.",
    "client": "`loop_lag_ms`, `cpu` and `run_queue_share` of the last second, of the worst worker (`slowest`).",
    "workers": "Of several workers, up to 64, dead and slow ones first: `worker`, `name`, `loop_lag_ms`, `cpu`, "
    "`run_queue_share`, `in_flight`, `done`, and `died`: how, or null.",
    "replicas": "Of several addresses, or as replies name who answered, up to 64: `replica`, `requests_per_s` and mean "
    "`latency_ms` (TTFT, or E2EL without tokens) of the last 10 s, and `failed` since the warm-up.",
    "server": "Levels of the server's metrics: `running`, `waiting`, `kv_cache_used`.",
}
"""The keys of a line."""


def live_line(
    now_ns: int,
    state: RunState,
    numbers: LiveNumbers,
    second: Second,
    client: ClientState,
    server: Mapping[str, float] | None = None,
) -> dict[str, object]:
    """A line of live.jsonl (LIVE_FIELDS). Keys in `_ms` cover the last second; counts are since the start."""
    # A load that drains before its limits ends with its last request, which its plan does not predict.
    ends_early = state is RunState.DRAINING and not numbers.all_sent
    return {
        "t_ns": now_ns,
        "elapsed_s": round(numbers.elapsed_s, 3),
        "state": state,
        "share_done": None if numbers.share_done is None else round(numbers.share_done, 4),
        "left_s": None if numbers.left_s is None or ends_early else round(numbers.left_s, 1),
        "load": numbers.load,
        "planned": numbers.planned,
        "sent": numbers.sent,
        "done": numbers.done,
        "in_flight": numbers.in_flight,
        "dropped": numbers.dropped,
        "failed": numbers.failed,
        "failures": {str(outcome): n for outcome, n in numbers.failures},
        "second": {
            "succeeded": second.succeeded,
            "input_tokens": second.input_tokens,
            "output_tokens": second.output_tokens,
            **({} if second.inputs is None else {"inputs": second.inputs}),
            "bytes_sent": second.bytes_sent,
            "bytes_received": second.bytes_received,
            "status": second.status,
            **{METRICS[name].key: asdict(values) for name, values in second.latencies.items()},
        },
        "errors": {str(outcome): text for outcome, text in second.errors.items()},
        "objectives": [
            {"objective": now.objective.text, "value": now.value, "unit": now.objective.unit, "held": now.held}
            for now in numbers.objectives
        ],
        "client": asdict(client),
        **(
            {"workers": [asdict(worker) for worker in slowest_first(numbers.workers)[:MOST_LISTED]]}
            if numbers.workers
            else {}
        ),
        **({"replicas": [asdict(replica) for replica in numbers.replicas[:MOST_LISTED]]} if numbers.replicas else {}),
        **({} if server is None else {"server": dict(server)}),
    }


class LiveLog:
    """Writes the lines, and passes on each new state, both in a separate thread."""

    def __init__(self, path: Path, *, write_state: Callable[[RunState], None], changes: LineLog | None = None) -> None:
        """`changes`: where changes of the load are written, by the same thread."""
        self._path = path
        self._changes = changes
        self._write_state = write_state
        self._state: RunState | None = None
        self._work: SimpleQueue[bytes | RunState | LoadChange | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="live.jsonl", daemon=True)
        self._thread.start()

    def tell(
        self,
        now_ns: int,
        state: RunState,
        numbers: LiveNumbers,
        second: Second,
        client: ClientState,
        server: Mapping[str, float] | None = None,
    ) -> None:
        if state is not self._state:
            self._state = state
            self._work.put(state)
        line = live_line(now_ns, state, numbers, second, client, server)
        self._work.put(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def note(self, change: LoadChange) -> None:
        """The load has changed. Unlike the lines, this belongs to the record: it is not dropped."""
        self._work.put(change)

    def close(self) -> str | None:
        """Wait until everything is written. Returns a sentence if a change is missing from its file."""
        self._work.put(None)
        self._thread.join(timeout=10.0)
        return None if self._changes is None else self._changes.close()

    def _run(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while (work := self._work.get()) is not None:
                with suppress(OSError):
                    if isinstance(work, RunState):
                        self._write_state(work)
                    elif isinstance(work, LoadChange):
                        if self._changes is not None:
                            self._changes.append(work.to_line())
                    else:
                        file.write(work)
