"""docs/metrics.md is correct: its example runs, and it lists every metric and outcome."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.metrics.catalog import METRICS
from bench.metrics.objectives import RUN_NUMBERS
from bench.records import Outcome
from bench.results.numbers import QUANTILES
from bench.statistics.intervals import values_needed

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "tests" / "golden" / "requests.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, "docs/metrics.md", "exec"), {})
    assert re.fullmatch(r"p80 of TTFT: \d+\.\d ms\n", capsys.readouterr().out)


def test_the_page_knows_every_metric_and_outcome() -> None:
    names = [f"`{metric.key}`" for metric in METRICS.values()] + [f"`{name}`" for name in METRICS]
    names += [f"`{outcome}`" for outcome in Outcome]
    assert [name for name in names if name not in PAGE] == [], (
        "docs/metrics.md needs a row for each metric (scripts/result-schemas writes it) and outcome"
    )
    assert [name for name in RUN_NUMBERS if f"`{name}" not in PAGE] == [], (
        "docs/metrics.md must name each number of a run"
    )


def test_the_page_has_the_right_numbers_of_values() -> None:
    found = re.findall(r"([\d,]+) (?:values )?\((p[\d.]+)\)", PAGE)
    assert len(found) == len(QUANTILES)
    for name, least in found:
        n, p = int(name.replace(",", "")), QUANTILES[least.replace(".", "")]
        assert values_needed(p) == n
