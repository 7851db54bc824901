"""Steps of jobs made by hand, with times in ms from the start. By default every step is answered."""

from __future__ import annotations

from typing import Any

from bench.metrics.jobs import Step, steps_of
from bench.records import RequestRecord
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of


def made_step(
    index: int,
    due_ms: float,
    end_ms: float,
    *,
    turn: int,
    job: int = 0,
    job_step: int | None = None,
    job_steps: int = 1,
    session: int = 0,
    pause: str | None = None,
    pause_ms: float = 0.0,
    first_ms: float = 5.0,
    **fields: Any,
) -> RequestRecord:
    """A step from the time it is due (and sent) to its last token; its first token comes `first_ms` after."""
    given: dict[str, Any] = {
        "session": f"s-{session}",
        "session_number": session,
        "turn": turn,
        "job": job,
        "job_step": turn if job_step is None else job_step,
        "job_steps": job_steps,
        "pause": pause,
        "pause_ns": round(pause_ms * MS),
        # The usage chunk and [DONE] come after the last token, and belong to no job.
        "end_ns": round(START_NS + (end_ms + 3) * MS),
    }
    return made_record(index, sent_ms=due_ms, chunks_ms=(first_ms, end_ms - due_ms), **(given | fields))


def two_agents(first: int = 0, at_ms: float = 0.0, **fields: Any) -> list[RequestRecord]:
    """A job of 1,000 ms: a step, two sub-agents that overlap by 100 ms with overlapping tool pauses, and an end.

            main     |--200--|                            |---200---|
            agent 1          .50.|--250--|                            tools 200-250, model 250-500
            agent 2          ..200...|-----300-----|                  tools 200-400, model 400-700
            main                               .....100...            tools 700-800, model 800-1,000

    In the model: 200 + (250 to 700) + 200 = 850. In tools: 200-250 and 700-800 = 150.
    """
    common: dict[str, Any] = {"job_steps": 4, **fields}
    return [
        made_step(first, at_ms, at_ms + 200, turn=0, pause="human", pause_ms=500, **common),
        made_step(first + 1, at_ms + 250, at_ms + 500, turn=1, pause="tool", pause_ms=50, agent="1", **common),
        made_step(first + 2, at_ms + 400, at_ms + 700, turn=2, pause="tool", pause_ms=200, agent="2", **common),
        made_step(first + 3, at_ms + 800, at_ms + 1000, turn=3, pause="tool", pause_ms=100, **common),
    ]


def step_of(record: RequestRecord) -> Step | None:
    """What a job needs from a request. None if the request is not a step of a job."""
    return next((step for _, step in steps_of(table_of(record))), None)
