"""Jobs: tasks of a user, from the due time to the last token of the last step.

The steps of a job are the requests of one session with its number: turns after tools, and the parallel requests of
sub-agents.

    job seconds    last token of all its steps - intended of its first step
    in the model   the union of [sent, last token] of its steps: what runs side by side counts once
    in tools       the union of its tool pauses, but for what lies in the model
    other          the rest: waits at a cap, the client
    human          the pause of its user before it: no part of job seconds

How a job ended, the first that fits:

    begun_before   its first step was sent in the warm-up, or never: the run entered its session in the middle
    failed         a step failed, and with it the session
    cancelled      the user left a step, as planned
    cut            the run ended before its last step did
    completed      every one of its steps was answered
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import numpy as np

from bench.clock import NS_PER_S
from bench.metrics.request_metrics import output_tokens
from bench.records import NO_FAILURE, Outcome, RequestRecord
from bench.records.record_table import Ints, RecordTable

HUMAN, TOOL = "human", "tool"

Span = tuple[int, int]
"""Start and end, in ns."""


class JobEnd(StrEnum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT = "cut"
    BEGUN_BEFORE = "begun_before"


class StepEnd(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Step:
    """The data of a request that a job needs. `end_ns`: its last token; the end of the request if it has no token."""

    number: int
    """The number within its job, from 0."""
    warmup: bool
    due_ns: int
    sent_ns: int | None
    end_ns: int
    pause_ns: int
    pause: str | None
    ended: StepEnd
    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job. The times of an incomplete job cover only its existing part. `session` is its number in the run."""

    session: int
    number: int
    ended: JobEnd
    due_ns: int
    end_ns: int
    steps: int
    model_ns: int
    tools_ns: int
    human_ns: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    whole: bool
    """Whether all its steps were answered, the last of them in the run. This may also be true for a job that began
    earlier."""

    @property
    def seconds(self) -> float:
        """The time from its due time to its last token."""
        return (self.end_ns - self.due_ns) / NS_PER_S

    @property
    def other_ns(self) -> int:
        """The time neither in the model nor in tools."""
        return self.end_ns - self.due_ns - self.model_ns - self.tools_ns


def steps_of(table: RecordTable) -> Iterator[tuple[RequestRecord, Step]]:
    """The requests that are steps of jobs, each with its step."""
    if all(job is None for job in table.column("job")):
        return  # Most runs have no jobs, and need not compute the following for each request.
    n, answered = output_tokens(table).tolist(), answered_ns(table).tolist()
    for row, record in enumerate(table.records):
        if record.session_number is not None and record.job is not None and record.job_step is not None:
            yield record, _step(record, record.job_step, answered[row], n[row])


def _step(record: RequestRecord, number: int, end_ns: int, n: int) -> Step:
    planned, reported = record.cached_tokens_planned, record.cached_tokens
    tokens = record.input_tokens_asked if record.input_tokens is None else record.input_tokens
    cached = planned if reported is None else reported
    return Step(
        number=number,
        warmup=record.phase == "warmup",
        due_ns=record.intended_ns,
        sent_ns=record.sent_ns,
        end_ns=end_ns,
        pause_ns=0 if record.pause_ns is None else record.pause_ns,
        pause=record.pause,
        ended=_step_end(record.outcome),
        input_tokens=0 if tokens is None else tokens,
        # If the length of a prompt is unknown, so are its fresh tokens.
        cached_tokens=0 if cached is None or tokens is None else cached,
        output_tokens=n,
    )


def answered_ns(table: RecordTable) -> Ints:
    """The last token of each response; the end of the response if it was not a stream, or had no token."""
    chunks = table.token_chunks
    return np.where(table.ok & (chunks.counts > 0), chunks.last(chunks.ns), table.ints("end_ns"))


def _step_end(outcome: Outcome) -> StepEnd:
    if outcome is Outcome.OK:
        return StepEnd.OK
    if outcome not in NO_FAILURE:
        return StepEnd.FAILED
    return StepEnd.CANCELLED if outcome is Outcome.CANCELLED else StepEnd.CUT


def job_of(session: int, number: int, steps: Sequence[Step], planned: int) -> Job | None:
    """The job that consists of these steps, out of `planned` steps. Returns None if all of it is in the warm-up."""
    if all(step.warmup for step in steps):
        return None
    opening = next((step for step in steps if step.number == 0), None)
    due_ns = min(step.due_ns for step in steps)
    end_ns = max(step.end_ns for step in steps)
    answered = len(steps) == planned and all(step.ended is StepEnd.OK for step in steps)
    in_model = covered_ns((step.sent_ns, step.end_ns) for step in steps if step.sent_ns is not None)
    with_tools = covered_ns(span for step in steps for span in _spans(step, due_ns))
    return Job(
        session=session,
        number=number,
        ended=_job_end(steps, opening, answered=answered),
        due_ns=due_ns,
        end_ns=end_ns,
        steps=len(steps),
        model_ns=in_model,
        tools_ns=with_tools - in_model,
        human_ns=opening.pause_ns if opening is not None and opening.pause == HUMAN else 0,
        input_tokens=sum(step.input_tokens for step in steps),
        cached_tokens=sum(step.cached_tokens for step in steps),
        output_tokens=sum(step.output_tokens for step in steps),
        whole=answered and not max(steps, key=lambda step: step.end_ns).warmup,
    )


def _job_end(steps: Sequence[Step], opening: Step | None, *, answered: bool) -> JobEnd:
    if opening is None or opening.warmup:
        return JobEnd.BEGUN_BEFORE
    if any(step.ended is StepEnd.FAILED for step in steps):
        return JobEnd.FAILED
    if any(step.ended is StepEnd.CANCELLED for step in steps):
        return JobEnd.CANCELLED
    return JobEnd.COMPLETED if answered else JobEnd.CUT


def _spans(step: Step, from_ns: int) -> Iterable[Span]:
    """When the step was in the model, and the pause for tools before it."""
    if step.sent_ns is not None:
        yield step.sent_ns, step.end_ns
    if step.pause == TOOL:
        yield max(from_ns, step.due_ns - step.pause_ns), step.due_ns


def covered_ns(spans: Iterable[Span]) -> int:
    """How much time the spans cover together; overlaps count once."""
    covered, reached = 0, None
    for start, end in sorted(spans):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            covered += end - begin
            reached = end
    return covered


def jobs_of(records: Iterable[RequestRecord]) -> list[Job]:
    """The jobs of records, in the order in which they were due."""
    gathered = GatheredJobs()
    gathered.add(RecordTable(list(records)))
    return gathered.jobs()


_NEVER_SENT = -1
_ENDS = tuple(StepEnd)
_PAUSES = (None, HUMAN, TOOL)


class GatheredJobs:
    """Collects the steps of jobs, in any order of their records: about 110 bytes per step."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def add(self, table: RecordTable) -> None:
        """Add records, of either phase; requests that are not steps of a job are ignored."""
        for record, step in steps_of(table):
            assert record.session_number is not None
            assert record.job is not None
            assert record.job_steps is not None
            sent_ns = _NEVER_SENT if step.sent_ns is None else step.sent_ns
            self._numbers.extend((record.session_number, record.job, step.number, step.due_ns, record.job_steps))
            self._numbers.extend((step.warmup, sent_ns, step.end_ns, step.pause_ns, _PAUSES.index(step.pause)))
            tokens = step.input_tokens, step.cached_tokens, step.output_tokens
            self._numbers.extend((_ENDS.index(step.ended), *tokens))

    def jobs(self) -> list[Job]:
        """The jobs that are not entirely warm-up, in the order in which they were due."""
        rows = np.array(self._numbers).reshape(-1, 14)
        ordered = rows[np.lexsort(rows[:, 3::-1].T)]  # By session, job, number of the step, and due time.
        gathered = []
        for (session, number), of_job in groupby((row.tolist() for row in ordered), lambda row: (row[0], row[1])):
            steps = list(of_job)
            job = job_of(session, number, [_read(row[2:]) for row in steps], planned=steps[0][4])
            if job is not None:
                gathered.append(job)
        return sorted(gathered, key=lambda job: (job.due_ns, job.session, job.number))


def _read(row: Sequence[int]) -> Step:
    number, due_ns, _, warmup, sent_ns, end_ns, pause_ns, pause, end, *tokens = row
    sent = None if sent_ns == _NEVER_SENT else sent_ns
    return Step(number, bool(warmup), due_ns, sent, end_ns, pause_ns, _PAUSES[pause], _ENDS[end], *tokens)
