"""Visit results of a search, made by hand."""

from __future__ import annotations

from typing import Any

from bench.load_search.decisions import Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import Result

P99 = Goal("ttft:p99<500ms", 0.01)
TPOT = Goal("tpot:p90<50ms", 0.1)
ERRORS = Goal("error_rate<1%", 0.01)
MEAN = Goal("ttft:mean<200ms", None)


def made_visit(n: int, load: float, share: float = 0.0, *, goal: Goal = P99, **changes: Any) -> Result:
    """A visit of 4,000 requests, with this share breaking the goal."""
    requests = changes.get("requests", 4_000)
    values: dict[str, Any] = {
        "n": n, "phase": "visit", "load": load, "verdict": "VALID", "settle_s": 10.0, "measure_s": 60.0, "seconds": 72.0,
        "requests": requests, "violations": {goal.text: round(share * requests)}, "act": {goal.text: 5.0},
        "kept_up": True, "e2el_p90_s": 1.0, "e2el_first_s": 1.0, "run_dir": f"{n:02d}-{load:g}",
    }  # fmt: skip
    return Result(**(values | changes))


def made_search(*visits: Result, goals: tuple[Goal, ...] = (P99,), **settings: Any) -> Search:
    """A search for a rate after these visits."""
    return Search(Settings(**({"load_kind": "rate", "goals": goals} | settings)), visits)


def in_turn(*rows: tuple[str, float, float], **changes: Any) -> list[Result]:
    """Successive visits, from their phase, load and share of violations."""
    return [
        made_visit(n, load, share, **(changes | {"phase": phase})) for n, (phase, load, share) in enumerate(rows, 1)
    ]
