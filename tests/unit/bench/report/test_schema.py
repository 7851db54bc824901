"""The committed schema of summary.json: real summaries match it, and it is strict enough to reject others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.metrics.catalog import METRICS
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.numbers import FIRST_METRICS
from bench.results.summary import SCHEMA
from tests.support.golden_run import golden_summary
from tests.support.made_records import START_NS, made_record
from tests.support.results import origin
from tests.support.tables import table_of

SCHEMA_JSON = orjson.loads(files("bench.report").joinpath("summary.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA_JSON)
ADDED = {"run": origin(), "verdict": {"status": "VALID", "reasons": []}, "calibration": None, "prefix_cache": None,
         "server": None, "gpu": None}  # fmt: skip


def _problems(summary: dict[str, Any]) -> list[str]:
    # Encoded and decoded, as a reader gets it: keys that are not strings would not survive.
    return [f"{e.json_path}: {e.message}" for e in VALIDATOR.iter_errors(orjson.loads(orjson.dumps(summary)))]


def _summary(records: list[RequestRecord], **facts: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"mode": "rate", "open_loop": True, "endpoint": "chat", "start_ns": START_NS, "seed": 0}
    summary = Summary(RunFacts(**(given | facts)))
    summary.add(table_of(*records))
    return to_plain(summary.close()) | ADDED


def test_the_schema_knows_its_name_and_every_metric_and_outcome() -> None:
    assert SCHEMA_JSON["properties"]["schema"]["const"] == SCHEMA
    metrics, latency = {metric.key for metric in METRICS.values()}, SCHEMA_JSON["properties"]["latency"]
    assert set(latency["properties"]) == metrics, (
        "bench/report/summary.schema.json lacks a metric in the properties of latency: run scripts/result-schemas"
    )
    assert set(latency["required"]) == set(FIRST_METRICS), "files of version 0.1 lack later metrics"
    assert set(SCHEMA_JSON["$defs"]["Outcome"]["enum"]) == set(Outcome)


RUNS: dict[str, list[RequestRecord]] = {
    "nothing": [],
    "one request": [made_record()],
    "all failed": [made_record(i, outcome=Outcome.TIMEOUT_IDLE, error=None) for i in range(3)],
    "never sent": [made_record(0, outcome=Outcome.DROPPED, sent_ns=None, chunks_ms=())],
    "each outcome": [made_record(i, sent_ms=i * 9.0, outcome=outcome) for i, outcome in enumerate(Outcome)],
    "not streamed": [made_record(i, sent_ms=i * 9.0, chunks_ms=()) for i in range(30)],
    "long": [made_record(i, sent_ms=i * 500.0) for i in range(300)],
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, "rate") for name in RUNS),
        *((name, mode) for name in ("nothing", "long") for mode in ("concurrency", "throughput")),
    ],
)
def test_summaries_of_all_kinds_keep_the_schema(name: str, mode: str) -> None:
    assert _problems(_summary(RUNS[name], mode=mode, max_concurrency=4)) == []


def test_the_golden_summary_keeps_the_schema() -> None:
    assert _problems(golden_summary()) == []


FREE = ("run", "verdict", "calibration")
"""The caller fills these in."""


def _objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            # Other metrics, the numbers of the window, and the tools have the same shape as what was checked.
            known = (path[-1:] == ("latency",) and key != "ttft_ms") or path == ("steady",)
            known |= path == ("compat",) and key != "vllm"
            if key not in FREE and not known:
                yield from _objects(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value[:1]):
            yield from _objects(inner, (*path, position))


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _shortened(value: Any) -> Any:
    """The same objects, with only the first entry of each list: enough to plant errors in, and quick to validate."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in (value if len(value) == 2 else value[:1])]
    return value


MAPS = ("by_outcome", "failed_by_outcome", "by_status", "status", "status_codes", "missing", "too_few",
        "stationarity")  # fmt: skip
"""Objects whose keys are data."""


SERVER_MAPS = {("server", name) for name in ("levels", "counters", "latency")} | {("gpu", "levels")}
"""A server has some of these."""


def _is_noticed(summary: dict[str, Any], path: tuple[str | int, ...]) -> bool:
    """Whether the value at the path breaks the schema of its part of the summary."""
    if not path:
        return not VALIDATOR.is_valid(summary)
    part = str(path[0])
    return next(VALIDATOR.descend(summary[part], SCHEMA_JSON["properties"][part]), None) is not None


LATER = ("never_sent", "late_ends", "backlog")
"""Keys missing from files of version 0.1, and so optional."""


def test_no_object_may_lack_a_key_or_have_one_too_many() -> None:
    summary = _shortened(golden_summary())
    assert _problems(summary) == []
    unnoticed = []
    for path in [*_objects(summary)]:
        planted_in = _at(summary, path)
        keys = [] if path and (path[-1] in MAPS or path in SERVER_MAPS) else [*planted_in]
        planted_in["planted"] = 1
        if not _is_noticed(summary, path):
            unnoticed.append(f"one too many in {path}")
        del planted_in["planted"]
        for key in (key for key in keys if key not in LATER and (path[-1:] != ("latency",) or key in FIRST_METRICS)):
            value = planted_in.pop(key)
            if not _is_noticed(summary, path):
                unnoticed.append(f"{key} missing in {path}")
            planted_in[key] = value
    assert _problems(summary) == []
    assert unnoticed == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("counts", "sent"), -1),
        (("counts", "sent"), 1.5),
        (("counts", "by_status"), {"teapot": 1}),
        (("counts", "by_outcome"), {"lost": 1}),
        (("latency", "ttft_ms", "p99"), "85"),
        (("latency", "ttft_ms", "ci95", "p50"), [1]),
        (("verdict", "status"), "GOOD"),
        (("schema",), "trueload/summary/2"),
    ],
)
def test_a_wrong_value_is_noticed(path: tuple[str, ...], value: Any) -> None:
    planted = copy.deepcopy(golden_summary())
    _at(planted, path[:-1])[path[-1]] = value
    assert _problems(planted)
