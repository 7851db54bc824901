"""docs/metrics.md tells the truth: its example runs, and it knows every metric, outcome and limit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.metrics.catalog import METRICS
from bench.metrics.compat import TOOLS
from bench.metrics.objectives import RUN_NUMBERS
from bench.metrics.quantile import QUANTILES
from bench.records import Outcome
from bench.statistics.intervals import values_needed
from bench.verdict.limits import Limits

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
OF_THE_VERDICT = (ROOT / "docs" / "verdict.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "tests" / "golden" / "requests.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, "docs/metrics.md", "exec"), {})
    assert re.fullmatch(r"p80 of TTFT: \d+\.\d ms\n", capsys.readouterr().out)


def test_the_page_knows_every_metric_outcome_and_limit() -> None:
    names = [f"`{metric.key}`" for metric in METRICS.values()] + [f"`{name}`" for name in METRICS]
    names += [f"`{outcome}`" for outcome in Outcome]
    assert [name for name in names if name not in PAGE] == [], (
        "docs/metrics.md has a row for each metric (scripts/result-schemas writes it) and outcome"
    )
    assert [limit for limit in Limits.model_fields if f"`{limit}`" not in OF_THE_VERDICT] == [], (
        "docs/verdict.md has a row for each limit"
    )
    assert [name for name in RUN_NUMBERS if f"`{name}" not in PAGE] == [], "docs/metrics.md names each number of a run"


def test_the_page_has_a_row_for_every_tool_with_its_version() -> None:
    section = PAGE.partition("## Compatible columns")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \(([^|]*)\) \|", section, flags=re.MULTILINE))
    assert list(rows) == list(TOOLS)
    versions = {name: re.findall(r"\d+\.\d+\.\d+", tool.version) for name, tool in TOOLS.items()}
    assert [name for name, found in versions.items() if not all(v in rows[name] for v in found)] == []


def test_the_page_has_the_right_numbers_of_values() -> None:
    found = re.findall(r"([\d,]+) (?:values )?\((p[\d.]+)\)", PAGE)
    assert len(found) == len(QUANTILES)
    for name, least in found:
        n, p = int(name.replace(",", "")), QUANTILES[least.replace(".", "")]
        assert values_needed(p) == n


def test_a_line_of_the_page_fits_its_limits() -> None:
    bands = Limits()
    rows = re.findall(r"\| > ([\d.]+)%[^|]*\|[^|]*\| `(\w+)` \|", OF_THE_VERDICT)
    assert len(rows) > 8
    for name, suspect in rows:
        assert getattr(bands, suspect).suspect == pytest.approx(float(name) / 100)
