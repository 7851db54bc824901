"""Files of every kind from version 0.1 (tests/data/written/VERSION): today's types and commands read them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from bench.cli import main
from bench.comparison.sides import read_run
from bench.console.task import Task
from bench.console.tasks import _with_summary
from bench.errors import Exit
from bench.load_sweep import stored
from bench.metrics.catalog import METRICS
from bench.release_gate import baseline
from bench.results.base import to_plain
from bench.results.comparison import ComparisonResult
from bench.results.profile import Profile
from bench.results.summary import from_json
from mockserver.profiles import settings_of_profile
from tests.support.rendered import comparison_page, fit_page

FOLDER = Path(__file__).parents[3] / "tests" / "data" / "written" / "0.1.0"
SUMMARIES = sorted(FOLDER.rglob("summary.json"))
GOOD = (Exit.GOOD, Exit.INVALID, Exit.OBJECTIVE_FAILED)
"""These runs were made on a busy machine."""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "written"))


def kept(then: Any, now: Any) -> bool:
    """Whether all old content is still there. A new version may have more keys."""
    if isinstance(then, dict):
        return all(key in now and kept(value, now[key]) for key, value in then.items())
    if isinstance(then, list):
        return len(then) == len(now) and all(map(kept, then, now))
    return bool(then == now) and type(then) is type(now)


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_a_summary_is_read_as_it_was_written(path: Path) -> None:
    content = path.read_bytes()
    assert kept(orjson.loads(content), orjson.loads(orjson.dumps(to_plain(from_json(content)))))


def test_a_comparison_is_read_as_it_was_written_and_has_its_page() -> None:
    content = (FOLDER / "comparison" / "compare.json").read_bytes()
    found = to_plain(msgspec.json.decode(content, type=ComparisonResult))
    assert kept(orjson.loads(content), found)
    assert found["versus"][0]["headline"][:20] in comparison_page(found)


@pytest.mark.parametrize("name", ["repeats/run-1", "sweep", "search"])
def test_report_opens_a_run_a_sweep_and_a_search(name: str, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(written / name)]) in GOOD
    assert capsys.readouterr().out


def test_compare_and_gate_read_the_runs_and_the_baseline(written: Path) -> None:
    runs = [written / "repeats" / name for name in ("run-1", "run-2")]
    begun = baseline.read(written / "baseline.json")
    assert begun is not None
    assert {entry.id for entry in begun.runs} == {read_run(run).manifest.run_id for run in runs}
    assert main(["compare", *map(str, runs)]) == Exit.GOOD
    assert main(["gate", str(runs[0]), "--slo", "e2el:p50<60s"]) in GOOD


def without_metric(node: Any, key: str) -> Any:
    """The content of a file without a metric, as from a version that did not have it."""
    if isinstance(node, dict):
        return {name: without_metric(part, key) for name, part in node.items() if name != key}
    return [without_metric(part, key) for part in node] if isinstance(node, list) else node


@pytest.mark.parametrize("metric", ["ttfo", "chunk_gap"])
def test_compare_and_gate_read_runs_that_lack_a_later_metric(metric: str, written: Path) -> None:
    for path in written.rglob("summary.json"):
        path.write_bytes(orjson.dumps(without_metric(orjson.loads(path.read_bytes()), METRICS[metric].key)))
    runs = [str(written / "repeats" / name) for name in ("run-1", "run-2")]

    assert main(["compare", *runs]) == Exit.GOOD
    assert main(["gate", runs[0], "--slo", "e2el:p50<60s"]) in GOOD
    # An objective without a value fails, whatever the limit.
    assert main(["gate", runs[0], "--slo", f"{metric}:p50<60s"]) == Exit.OBJECTIVE_FAILED


def test_a_profile_is_served(written: Path) -> None:
    assert settings_of_profile(str(written / "profile.json"))["engine"] == "sampled"


def test_a_profile_is_read_as_it_was_written_and_has_its_page() -> None:
    content = (FOLDER / "profile.json").read_bytes()
    profile = msgspec.json.decode(content, type=Profile)
    assert orjson.dumps(to_plain(profile), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) == content
    assert "What its times are" in fit_page(profile)


def test_a_sweep_and_repeats_are_read(written: Path) -> None:
    assert [point.load for point in stored.read(written / "sweep" / "sweep.json").points] == [1, 2]
    assert len(orjson.loads((written / "repeats" / "repeats.json").read_bytes())["runs"]) == 2


def test_the_console_shows_the_numbers_of_a_run(written: Path) -> None:
    shown = _with_summary(Task(id="a", state="ended", settings={}), written / "repeats" / "run-1" / "summary.json")
    assert shown.counts is not None
    assert shown.counts["succeeded"] == 12
    assert shown.verdict_headline
