"""A search in progress: its files after every visit, and how it ends. The server is a formula."""

from __future__ import annotations

import copy
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.config import resolve
from bench.errors import Exit, TargetError, UsageError
from bench.load_search import search_file
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.driver import SearchEnd, drive
from bench.load_search.files import SearchDirectory, config_sha256
from bench.load_search.goals import Goal
from bench.load_search.render import Rendered, render, render_again
from bench.load_search.whole import carry_out
from bench.series.runs import RunSeries
from tests.support.made_runs import made_run
from tests.support.searched_server import FormulaVisits, Silent, logistic

P99 = Goal("ttft:p99<500ms", 0.01)
TPOT = Goal("tpot:p90<50ms", 0.1)
CONFIG = resolve({"url": "http://127.0.0.1:8000", "rate": 1.0, "slo": [P99.text], "name": "search"})
SHA256 = config_sha256(CONFIG, "rate")
SCHEMA = orjson.loads(files("bench.load_search").joinpath("search.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA)


def directory(path: Path) -> SearchDirectory:
    return SearchDirectory.create(path / "search", CONFIG, {"started": "2026-01-02T03:04:05+00:00", "host": {}})


def settings(*goals: Goal, **changes: Any) -> Settings:
    given: dict[str, Any] = {"load_kind": "rate", "goals": goals or (P99,), "start": 8.0}
    return Settings(**(given | changes))


def carried_out(
    place: SearchDirectory, search: Search, require: float | None = None, **server: Any
) -> tuple[SearchEnd, Rendered, dict[str, Any]]:
    given: dict[str, Any] = {"shares": {P99.text: logistic(38.0)}, "folder": place.path}
    visits = FormulaVisits(**(given | server))
    follower, before = Silent(), len(search.results)
    ended = drive(search, place, visits.make, follower, config_sha256=SHA256, require=require)
    assert follower.over
    # The follower is called when a visit begins, and again when it ends with a result.
    assert follower.ended == len(search.results) - before
    assert follower.begun - follower.ended in (0, 1)
    rendered = render(place, search, ended.stopped_by, require, ended.error)
    kept = place.kept()
    assert kept is not None
    assert [f"{e.json_path}: {e.message}" for e in VALIDATOR.iter_errors(kept)] == []
    return ended, rendered, kept


def test_a_search_ends_with_an_answer_in_search_json_and_on_a_page(tmp_path: Path) -> None:
    place = directory(tmp_path)
    ended, rendered, kept = carried_out(place, Search(settings()))
    assert ended == SearchEnd(Ending.BUDGET)
    assert rendered.exit == Exit.GOOD
    assert kept["capacity"]["low"] < 38.0 < kept["capacity"]["high"]
    assert kept["binding"] == P99.text
    assert kept["stopped_by"] == "budget"
    assert [visit["run_dir"] for visit in kept["visits"]][:3] == ["01-scout-8", "02-scout-16", "03-scout-32"]
    page = (place.path / "search.html").read_text()
    assert rendered.text.splitlines()[0] in page
    assert page.count('class="card chart"') == 4
    assert 'href="01-scout-8/report.html"' in page
    assert max(map(len, rendered.text.splitlines()[:-1])) <= 80


def test_a_search_that_was_killed_loses_the_visit_that_was_running_and_nothing_else(tmp_path: Path) -> None:
    whole = Search(settings())
    carried_out(directory(tmp_path / "whole"), whole)
    place = directory(tmp_path / "killed")
    for n in (1, 2, 5, 6, 9):
        kept = place.kept()
        search = Search(settings()) if kept is None else search_file.from_json(kept, SHA256)
        visits = FormulaVisits({P99.text: logistic(38.0)}, at={n: SystemExit()}, folder=place.path)
        with pytest.raises(SystemExit):
            drive(search, place, visits.make, Silent(), config_sha256=SHA256)
        kept = place.kept()
        assert kept is not None
        assert len(kept["visits"]) == n - 1
        assert kept["stopped_by"] is None
        assert VALIDATOR.is_valid(kept)
    resumed = search_file.from_json(place.kept() or {}, SHA256)
    carried_out(place, resumed)
    assert resumed.results == whole.results


def test_a_search_does_not_go_on_with_changed_data(tmp_path: Path) -> None:
    place, search = directory(tmp_path), Search(settings())
    carried_out(place, search)
    (tmp_path / "rows.jsonl").write_text("{}")
    made_run(place.path / "01-first", data_sha256={str(tmp_path / "rows.jsonl"): "0" * 64})
    with pytest.raises(UsageError, match=r"another content of .*rows\.jsonl: give the same data"):
        carry_out(search, (), CONFIG, place, RunSeries(place.path), Silent())


def test_what_a_killed_search_left_can_be_rendered(tmp_path: Path) -> None:
    place = directory(tmp_path)
    with pytest.raises(UsageError, match="no visit has ended"):
        render_again(place.path)
    visits = FormulaVisits({P99.text: logistic(38.0)}, at={9: SystemExit()}, folder=place.path)
    with pytest.raises(SystemExit):
        drive(Search(settings()), place, visits.make, Silent(), config_sha256=SHA256, require=20.0)
    rendered = render_again(place.path)
    assert "ended: it was killed, or still runs, after 8 visits" in rendered.text
    assert "required: 20/s is not shown to be held: " in rendered.text
    with pytest.raises(UsageError, match="not the directory of a search"):
        render_again(tmp_path)


def test_rendered_again_a_page_has_the_same_bytes(tmp_path: Path) -> None:
    place = directory(tmp_path)
    _, rendered, _ = carried_out(place, Search(settings()), require=30.0)
    page = (place.path / "search.html").read_bytes()
    assert render_again(place.path) == rendered
    assert (place.path / "search.html").read_bytes() == page


@pytest.mark.parametrize("how", [None, KeyboardInterrupt()], ids=["during the load", "between two loads"])
def test_ctrl_c_gives_the_answer_so_far(how: BaseException | None, tmp_path: Path) -> None:
    search = Search(settings())
    ended, rendered, kept = carried_out(directory(tmp_path), search, at={9: how})
    assert ended == SearchEnd(Ending.INTERRUPTED)
    assert rendered.exit == Exit.GOOD
    assert len(kept["visits"]) == 8
    assert "ended: interrupted, after 8 visits" in rendered.text
    assert "--resume" in rendered.text


def test_ctrl_c_before_there_is_an_answer_says_what_scouts_found(tmp_path: Path) -> None:
    _, rendered, _ = carried_out(directory(tmp_path), Search(settings()), at={4: None})
    assert rendered.exit == Exit.INTERRUPTED
    assert rendered.text.startswith("No answer yet. Short visits only hint: nothing clearly broke up to 32/s.")
    _, rendered, _ = carried_out(directory(tmp_path / "b"), Search(settings()), at={1: KeyboardInterrupt()})
    assert rendered.text.startswith("No answer yet. No visit has ended.")
    assert rendered.exit == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("require", "status", "said"),
    [
        (30.0, Exit.GOOD, "required: 30/s is held (99% sure)"),
        (50.0, Exit.OBJECTIVE_FAILED, "required: 50/s is not held (99% sure)"),
        (38.0, Exit.OBJECTIVE_FAILED, "required: 38/s is not shown to be held: "),
    ],
)
def test_a_load_that_is_required_decides_the_exit_status(
    require: float, status: Exit, said: str, tmp_path: Path
) -> None:
    _, rendered, kept = carried_out(directory(tmp_path), Search(settings()), require)
    assert rendered.exit == status
    assert said in rendered.text
    assert kept["required"]["load"] == require
    assert kept["required"]["held"] is (status == Exit.GOOD)


def test_nothing_holds_says_what_the_lowest_load_gave(tmp_path: Path) -> None:
    search = Search(settings(start=4.0, least=1.0))
    ended, rendered, _ = carried_out(directory(tmp_path), search, shares={P99.text: lambda load: 0.28})
    assert ended == SearchEnd(Ending.NOTHING_HOLDS)
    assert rendered.text.splitlines()[0] == "No load held: at 1/s, the lowest allowed, ttft:p99 is 640 ms."
    assert rendered.exit == Exit.OBJECTIVE_FAILED


def test_a_server_that_answers_nothing_well_cannot_be_measured(tmp_path: Path) -> None:
    search = Search(settings(start=2.0, least=1.0))
    server: dict[str, Any] = {"shares": {P99.text: lambda load: 1.0}, "verdict": lambda load: "FAILED"}
    _, rendered, _ = carried_out(directory(tmp_path), search, **server)
    assert rendered.exit == Exit.TARGET


def test_a_search_that_never_fails_ends_at_the_highest_load(tmp_path: Path) -> None:
    search = Search(settings(most=32.0))
    ended, rendered, kept = carried_out(directory(tmp_path), search, shares={P99.text: lambda load: 0.0})
    assert ended == SearchEnd(Ending.NEVER_FAILS)
    assert rendered.exit == Exit.GOOD
    first = " ".join(rendered.text.splitlines()[:2])
    assert re.match(r"At least 32/s \(9\d% sure\): --max ends the search there, and the server may hold more; ", first)
    assert (kept["conclusion"], kept["at_least"], kept["capacity"]) == ("at least", 32.0, None)


def test_a_client_that_cannot_measure_a_load_is_told_apart_from_a_server_that_fails(tmp_path: Path) -> None:
    search = Search(settings())
    server: dict[str, Any] = {
        "shares": {P99.text: logistic(400.0)},
        "verdict": lambda load: "INVALID" if load > 40 else "VALID",
    }
    ended, rendered, kept = carried_out(directory(tmp_path), search, **server)
    assert ended == SearchEnd(Ending.CLIENT)
    assert rendered.exit == Exit.INVALID
    assert " ".join(rendered.text.split()).startswith(
        "The client is the limit: three visits in a row were INVALID, the last at 64/s (the client's processor was busy). "
        "Short visits only hint: nothing clearly broke up to 32/s."
    )
    assert [visit["load"] for visit in kept["visits"]] == [8, 16, 32, 64, 64, 64]
    assert kept["capacity"] is None


def test_a_client_that_has_room_again_goes_on_where_it_gave_up(tmp_path: Path) -> None:
    place = directory(tmp_path)
    search = Search(settings())
    carried_out(place, search, verdict=lambda load: "INVALID" if load > 40 else "VALID")
    resumed = search_file.from_json(place.kept() or {}, SHA256)
    ended, rendered, _ = carried_out(place, resumed)
    assert ended == SearchEnd(Ending.BUDGET)
    assert rendered.exit == Exit.GOOD


def test_a_server_that_is_gone_ends_the_search_with_what_is_known(tmp_path: Path) -> None:
    gone = TargetError("cannot connect to http://127.0.0.1:8000")
    ended, rendered, kept = carried_out(directory(tmp_path), Search(settings()), at={9: gone})
    assert ended == SearchEnd(Ending.TARGET, gone)
    assert rendered.exit == Exit.TARGET
    assert rendered.text.startswith("The server could no longer be measured. Until then: It holds up to ")
    assert kept["stopped_by"] == "target"


def test_a_server_that_was_never_there_is_an_error_with_its_status(tmp_path: Path) -> None:
    gone = TargetError("cannot connect to http://127.0.0.1:8000")
    _, rendered, _ = carried_out(directory(tmp_path), Search(settings()), at={1: gone})
    assert rendered.exit == Exit.TARGET


def test_a_machine_that_refuses_a_higher_load_ends_the_search_and_a_wrong_first_run_raises(tmp_path: Path) -> None:
    refused = UsageError("the limit of open files is 1,024")
    ended, rendered, _ = carried_out(directory(tmp_path), Search(settings()), at={4: refused})
    assert ended == SearchEnd(Ending.MACHINE, refused)
    assert rendered.exit == Exit.USAGE
    visits = FormulaVisits({P99.text: logistic(38.0)}, at={1: refused})
    with pytest.raises(UsageError):
        drive(Search(settings()), directory(tmp_path / "b"), visits.make, Silent(), config_sha256=SHA256)


def test_a_budget_that_is_nearly_spent_while_scouting_is_spent_on_a_visit(tmp_path: Path) -> None:
    """A scout is only a hint: the remaining time goes to visits that count."""
    search = Search(settings(start=1.0, budget_s=10.0))
    _, rendered, kept = carried_out(directory(tmp_path), search, shares={P99.text: logistic(5_000.0)})
    assert [visit["phase"] for visit in kept["visits"]][-1] == "visit"
    load = kept["at_least"]
    assert load == kept["visits"][-1]["load"] == max(v["load"] for v in kept["visits"])
    assert rendered.text.startswith(f"At least {load:g}/s (")
    assert (rendered.exit, kept["held"], kept["capacity"]) == (Exit.GOOD, None, None)


def test_the_objective_with_the_lowest_capacity_is_named(tmp_path: Path) -> None:
    shares = {P99.text: logistic(60.0), TPOT.text: logistic(38.0, 0.1)}
    _, rendered, kept = carried_out(directory(tmp_path), Search(settings(P99, TPOT)), shares=shares)
    assert kept["binding"] == TPOT.text
    assert f"what binds: {TPOT.text}" in rendered.text


def test_users_are_whole(tmp_path: Path) -> None:
    search = Search(settings(load_kind="concurrency", least=1.0, start=1.0))
    shares = {P99.text: logistic(24.6, slope=100.0)}
    _, rendered, kept = carried_out(directory(tmp_path), search, shares=shares)
    assert re.match(r"It holds up to 2[34] users: between \d\d and 2\d users \(about 90% sure\)", rendered.text)
    assert kept["capacity"]["low"] < 24.6 < kept["capacity"]["high"]


def test_a_directory_that_is_taken_is_refused(tmp_path: Path) -> None:
    place = directory(tmp_path)
    with pytest.raises(UsageError, match="already holds a search: go on with it"):
        SearchDirectory.create(place.path, CONFIG, {})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").touch()
    with pytest.raises(UsageError, match="already holds a run"):
        SearchDirectory.create(tmp_path / "run", CONFIG, {})
    with pytest.raises(UsageError, match="not the directory of a search"):
        SearchDirectory.open(tmp_path / "run")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"'])
def test_a_damaged_search_json_is_refused(content: bytes, tmp_path: Path) -> None:
    place = directory(tmp_path)
    (place.path / "search.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"search\.json"):
        place.kept()


def test_what_visits_have_in_common_is_what_the_hash_is_of() -> None:
    same = CONFIG.with_values(rate=50.0, duration=3.0, out="elsewhere", quiet=True, seed=CONFIG.seed)
    assert config_sha256(same, "rate") == SHA256
    for changes in (
        {"output_tokens": "64"},
        {"url": "http://127.0.0.1:8001"},
        {"slo": ("ttft:p99<400ms",)},
        {"seed": 7},
    ):
        assert config_sha256(CONFIG.with_values(**changes), "rate") != SHA256
    assert config_sha256(CONFIG, "concurrency") != SHA256


def test_the_schema_notices_what_does_not_belong(tmp_path: Path) -> None:
    _, _, kept = carried_out(directory(tmp_path), Search(settings()), 30.0)
    kept["visits"] = kept["visits"][:1]
    kept["visits"][0]["means"] = {"ttft:mean<1s": {"load": 1.0, "log_ratio": 0.1, "error": 0.01}}
    assert VALIDATOR.is_valid(kept)
    for path in (("visits", 0), ("capacity",), ("held",), ("failed",), ("required",), ("settings",), ("objectives", 0),
                 ("visits", 0, "means", "ttft:mean<1s"), ()):  # fmt: skip
        here = _at(kept, path)
        for key in here:
            planted = copy.deepcopy(kept)
            del _at(planted, path)[key]
            assert not VALIDATOR.is_valid(planted), (path, key)
        planted = copy.deepcopy(kept)
        _at(planted, path)["planted"] = 1
        assert not VALIDATOR.is_valid(planted), path
    assert set(SCHEMA["properties"]["stopped_by"]["enum"]) == {*map(str, Ending), None}


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
