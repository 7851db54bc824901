"""Generates the JSON schemas of bench's files from the types in bench/results/, and the table of metrics in
docs/metrics.md from bench/metrics/catalog.py.

tests/unit/bench/results/test_schemas.py fails if a committed file is outdated.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.metrics.compat import TOOLS
from bench.records import RequestRecord, ServerWords
from bench.results.base import Result
from bench.results.baseline import Baseline
from bench.results.certificate import Certificate
from bench.results.comparison import ComparisonResult
from bench.results.gate import GateResult
from bench.results.plan import PlanContent
from bench.results.profile import Profile
from bench.results.quality import QualityContent
from bench.results.schema import descriptions, schema_of
from bench.results.search import SearchContent
from bench.results.summary import RunSummary
from bench.results.sweep import RepeatsContent, SweepContent
from bench.results.tune import TuneContent

WIDTH = 160
ROOT = Path(__file__).parents[1]
LISTS: Mapping[str, Sequence[str]] = {
    "metrics": [metric.key for metric in METRICS.values()],
    "request metrics": [metric.key for metric in REQUEST_METRICS.values()],
    "tools": [*TOOLS],
}
"""Keys that are always present in tables, defined by other lists."""
SCHEMAS: Mapping[str, tuple[type[Result], str]] = {
    "bench/report/summary.schema.json": (RunSummary, "summary.json of a Trueload run"),
    "bench/report/compare.schema.json": (ComparisonResult, "compare.json of Trueload"),
    "bench/report/baseline.schema.json": (Baseline, "baseline.json of Trueload"),
    "bench/report/gate.schema.json": (GateResult, "the JSON of python -m bench gate"),
    "bench/report/certificate.schema.json": (Certificate, "certificate.json of a Trueload calibration"),
    "bench/fit/profile.schema.json": (Profile, "A profile of Trueload"),
    "bench/load_search/search.schema.json": (SearchContent, "search.json: a search for the load that a server holds"),
    "bench/report/load_sweep.schema.json": (SweepContent, "sweep.json of python -m bench sweep"),
    "bench/report/plan.schema.json": (PlanContent, "plan.json of python -m bench plan"),
    "bench/report/quality.schema.json": (QualityContent, "quality.json of python -m bench quality"),
    "bench/report/tune.schema.json": (TuneContent, "tune.json of python -m bench tune"),
    "bench/report/repeats.schema.json": (RepeatsContent, "repeats.json of python -m bench run --repeats"),
}
"""Each schema: the type of the content, and the title."""
_NAMES = re.compile(r"(?<=^\| with a statistic \| ).*(?= \|$)", re.MULTILINE)


def texts() -> dict[str, str]:
    """The schemas and pages, regenerated, by path."""
    made = {path: schema_of(content, title, LISTS) for path, (content, title) in SCHEMAS.items()}
    schemas = {path: _text(schema) + "\n" for path, schema in made.items()}
    return schemas | {path: make((ROOT / path).read_text(encoding="utf-8")) for path, make in PAGES.items()}


def metrics_page(text: str) -> str:
    """The page with its table of metrics, and the names that objectives use."""
    rows = [
        (f"{m.title}, `{m.key}`", m.description.partition(": ")[0].rstrip("."), m.formula) for m in METRICS.values()
    ]
    text = _with_rows(text, "| metric, and its key in `latency` | what it is | formula |", rows)
    return _NAMES.sub(lambda _: ", ".join(f"`{name}`" for name in METRICS), text)


def fields_of_records() -> dict[str, str]:
    """The description of each field of requests.jsonl; server fields come last."""
    words, said = descriptions(RequestRecord), ServerWords.__struct_fields__
    names = (name for name in RequestRecord.__struct_fields__ if name not in said)
    return {name: words.get(name, "") for name in (*names, *said)}


def _with_rows(page: str, head: str, rows: Sequence[Sequence[str]]) -> str:
    """The page with these rows in the table with this head."""
    start = page.index(f"\n{head}\n") + len(head) + 2
    start = page.index("\n", start) + 1
    end = page.index("\n\n", start) + 1
    return page[:start] + "".join(f"| {' | '.join(row)} |\n" for row in rows) + page[end:]


PAGES: Mapping[str, Callable[[str], str]] = {
    "docs/metrics.md": metrics_page,
}


def _text(value: object, depth: int = 0) -> str:
    """JSON with short values on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + 2 * depth <= WIDTH or not isinstance(value, dict | list):
        return line
    inner, outer = "\n" + "  " * (depth + 1), "\n" + "  " * depth
    if isinstance(value, list):
        return f"[{inner}" + f",{inner}".join(_text(item, depth + 1) for item in value) + f"{outer}]"
    rows = (f"{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items())
    return f"{{{inner}" + f",{inner}".join(rows) + f"{outer}}}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, text in texts().items():
        (ROOT / path).write_text(text, encoding="utf-8")
