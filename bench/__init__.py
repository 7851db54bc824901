"""A load tester for LLM inference servers. Start reading at `load_test.py`.

`bench.run` and the rest of the Python API (`bench/api/`) are imported on first use, because `python -m bench --help`
does not need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from bench.answer_quality.measure import QualityResult
    from bench.api.comparisons import compare
    from bench.api.qualities import quality
    from bench.api.runs import RunResult, read, run
    from bench.api.searches import search
    from bench.api.sweeps import sweep
    from bench.api.tunes import tune
    from bench.load_search.search_result import SearchResult
    from bench.load_sweep.measure import SweepResult
    from bench.observer import Observer
    from bench.tuning.measure import TuneResult

__all__ = [
    "Observer", "QualityResult", "RunResult", "SearchResult", "SweepResult", "TuneResult", "compare", "quality", "read",
    "run", "search", "sweep", "tune",
]  # fmt: skip

_HOMES = {
    "Observer": "bench.observer",
    "QualityResult": "bench.answer_quality.measure",
    "RunResult": "bench.api.runs",
    "SearchResult": "bench.load_search.search_result",
    "SweepResult": "bench.load_sweep.measure",
    "TuneResult": "bench.tuning.measure",
    "compare": "bench.api.comparisons",
    "quality": "bench.api.qualities",
    "read": "bench.api.runs",
    "run": "bench.api.runs",
    "search": "bench.api.searches",
    "sweep": "bench.api.sweeps",
    "tune": "bench.api.tunes",
}

__getattr__ = lazy_exports(__name__, _HOMES)
