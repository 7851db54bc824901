"""`bench.search`: a search from Python. docs/python.md has an example that finds a capacity."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.errors import Exit, TargetError, UsageError
from bench.load_search.decisions import Ending, Search
from bench.load_search.driver import SearchEnd
from bench.load_search.render import render
from bench.load_search.search_result import SearchResult
from bench.load_search.whole import result_of
from tests.support.searched_server import FormulaVisits, logistic
from tests.unit.bench.load_search.test_driver import P99, carried_out, directory, settings


def test_what_was_found_is_typed(tmp_path: Path) -> None:
    place, search = directory(tmp_path), Search(settings())
    ended, rendered, kept = carried_out(place, search)
    found = result_of(place, search, ended, rendered)
    assert isinstance(found, bench.SearchResult)
    assert found.headline == " ".join(rendered.text.split("\n  ")[0].split())
    assert found.low is not None
    assert found.high is not None
    assert found.low < 38.0 < found.high
    assert (found.capacity, found.low, found.high) == tuple(
        kept["capacity"][key] for key in ("estimate", "low", "high")
    )
    assert found.held is not None
    assert found.failed is not None
    assert found.held < 38.0 < found.failed
    assert (found.binding, found.stopped_by, found.exit) == (P99.text, Ending.BUDGET, Exit.GOOD)
    assert found.visits == tuple(search.results)
    assert found.summary == kept


def test_without_an_answer_there_is_no_number(tmp_path: Path) -> None:
    place, search = directory(tmp_path), Search(settings())
    search.add(FormulaVisits({P99.text: logistic(38.0)}).make(search, search.next()))  # type: ignore[arg-type]
    place.write(search, "0" * 64, Ending.INTERRUPTED, None)
    rendered = render(place, search, Ending.INTERRUPTED, None)
    found = result_of(place, search, SearchEnd(Ending.INTERRUPTED), rendered)
    assert found.headline == "No answer yet. Short visits only hint: nothing clearly broke up to 8/s."
    assert (found.capacity, found.low, found.high, found.held, found.exit) == (None, None, None, None, Exit.INTERRUPTED)


@pytest.mark.processes
def test_wrong_settings_and_servers_that_are_not_there_raise(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a search needs an objective"):
        bench.search(url="http://127.0.0.1:1", out=str(tmp_path / "a"))
    with pytest.raises(UsageError, match="--start: must be more than 0"):
        bench.search(url="http://127.0.0.1:1", slo=[P99.text], start=0, out=str(tmp_path / "b"))
    with pytest.raises(TargetError, match=r"127\.0\.0\.1:1"):
        # Without this, a process that reads metrics would start before the server is contacted.
        bench.search(
            url="http://127.0.0.1:1", slo=[P99.text], load="concurrency", server_metrics=["off"], gpu_metrics="off",
            out=str(tmp_path / "c"),
        )  # fmt: skip
    assert not (tmp_path / "a").exists()
    assert SearchResult is bench.SearchResult


def test_settings_that_the_command_refuses_are_refused_with_all_other_problems(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        bench.search(
            url="http://127.0.0.1:1", slo=[P99.text], start=-1, budget="1s", duration="5s", output_tokens="none",
            out=str(tmp_path / "a"),
        )  # fmt: skip
    said = "\n".join(raised.value.problems)
    for flag in ("--start", "--budget", "--duration cannot be combined with a search", "--output-tokens"):
        assert flag in said
    assert not (tmp_path / "a").exists()


@pytest.mark.processes
def test_a_file_of_a_run_may_say_how_hard_it_was(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    off = "server_metrics: ['off']\ngpu_metrics: 'off'\n"
    file.write_text(f"url: http://127.0.0.1:1\nrate: 5\nduration: 10s\nmode: rate\nslo: [ttft:p99<500ms]\n{off}")
    with pytest.raises(TargetError):
        bench.search(file, load="concurrency", out=str(tmp_path / "a"))
