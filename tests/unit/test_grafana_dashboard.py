"""The dashboard in examples/ matches Grafana's own types. tests/sockets/test_telemetry.py runs its queries on a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.prometheus import Dataquery

from bench.telemetry.declared import METRICS

FILE = Path(__file__).parents[2] / "examples" / "grafana" / "trueload.json"
CONTENT: dict[str, Any] = json.loads(FILE.read_text())
QUERIES = [target["expr"] for panel in CONTENT["panels"] for target in panel["targets"]]
QUERIES += [variable["query"] for variable in CONTENT["templating"]["list"] if variable["type"] == "query"]


def lost(given: object, kept: object, place: str = "") -> list[str]:
    """The parts of a document that another document lacks. The other may have more."""
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            return [place]
        return [row for key, value in given.items() for row in lost(value, kept.get(key), f"{place}.{key}")]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(kept) != len(given):
            return [place]
        return [
            row
            for i, (one, other) in enumerate(zip(given, kept, strict=True))
            for row in lost(one, other, f"{place}[{i}]")
        ]
    return [] if given == kept else [place]


def read_by_grafanas_types(content: dict[str, Any]) -> object:
    """The dashboard as Grafana's types read it. They drop unknown fields."""
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(content)))


def test_grafanas_types_know_everything_that_the_dashboard_says() -> None:
    assert lost(CONTENT, read_by_grafanas_types(CONTENT)) == []
    for panel in CONTENT["panels"]:
        for target in panel["targets"]:
            assert lost(target, json.loads(JSONEncoder().encode(Dataquery.from_json(target)))) == []


@pytest.mark.parametrize(("key", "value"), [("titel", "x"), ("panles", [])])
def test_a_key_that_grafana_does_not_know_would_be_seen(key: str, value: object) -> None:
    wrong = {**CONTENT, key: value}
    assert lost(wrong, read_by_grafanas_types(wrong)) == [f".{key}"]


def test_the_measures_of_a_load_are_on_it() -> None:
    shown = {metric.name for metric in METRICS.values() if any(metric.prometheus in query for query in QUERIES)}
    assert shown >= {
        "trueload.ttft", "trueload.tpot", "trueload.itl", "trueload.e2el", "trueload.requests.in_flight", "trueload.load",
        "trueload.requests.ended", "trueload.requests.failed", "trueload.client.lateness", "trueload.output_tokens.arrived",
    }  # fmt: skip
