"""search.json: its content for each load kind, what is read back, and the result of older and damaged files."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.config import resolve
from bench.errors import Exit, UsageError
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.files import SEARCH, SearchDirectory, config_sha256
from bench.load_search.render import render_again
from bench.load_search.search_file import from_json, to_json
from bench.loads import KINDS
from bench.statistics.capacity import Mean
from tests.support.made_visits import ERRORS, MEAN, P99, in_turn, made_search, made_visit
from tests.unit.bench.load_search.test_conclusion import CALM, CHANGES, CLOSE, SCOUTS

VALIDATOR = Draft202012Validator(orjson.loads(files("bench.load_search").joinpath("search.schema.json").read_bytes()))
SHA256 = "a" * 64
BRACKET = made_search(*in_turn(*SCOUTS, *CLOSE))


def kept_of(search: Search, ending: Ending | None = None, require: float | None = None) -> dict[str, Any]:
    """The content of the file."""
    kept: dict[str, Any] = json.loads(json.dumps(to_json(search, SHA256, ending, require)))
    assert [f"{e.json_path}: {e.message}" for e in VALIDATOR.iter_errors(kept)] == []
    return kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_of_every_load_kind_is_resumed(kind: str) -> None:
    full = made_visit(
        1, 12.0, 0.02, violations={P99.text: 80, "job:p90<60s": 3}, jobs={"job:p90<60s": 40}, about={P99.text: 900},
        means={MEAN.text: Mean(12.0, -0.25, 0.04)}, kept_up=None, e2el_first_s=0.75,
    )  # fmt: skip
    lost = made_visit(2, 6.0, verdict="INVALID", e2el_p90_s=None, e2el_first_s=None, act={}, phase="scout")
    settings = Settings(kind, (P99, MEAN), 2.0, 1.0, 64.0, 0.05, 600.0, judged_after_s=60.0)
    search = Search(settings, [full, lost, replace(full, n=3, phase="again")])
    resumed = from_json(kept_of(search), SHA256)
    assert resumed.settings == settings
    assert resumed.results == search.results
    assert (resumed.next(), conclude(resumed)) == (search.next(), conclude(search))


def test_the_conclusion_is_in_the_file() -> None:
    def of(search: Search, ending: Ending | None = None) -> tuple[Any, ...]:
        kept = kept_of(search, ending)
        assert kept["seconds"] == search.seconds
        answers = [name for name in ("capacity", "held", "failed", "binding") if kept[name] is not None]
        return kept["conclusion"], kept["at_least"], kept["below"], answers, kept["stopped_by"]

    every = ["capacity", "held", "failed", "binding"]
    assert of(BRACKET, Ending.PRECISION) == ("up to", None, None, every, "precision")
    never = made_search(*in_turn(*CALM[:5], *[("visit", 32.0, 0.0)] * 3), most=32.0)
    assert of(never, Ending.NEVER_FAILS) == ("at least", 32.0, None, ["held"], "never fails")
    assert of(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.5)))) == ("below", None, 35.0, ["failed"], None)
    lowest = made_search(*in_turn(("scout", 1.0, 0.9), ("visit", 1.0, 0.3)), least=1.0)
    assert of(lowest, Ending.NOTHING_HOLDS) == ("no load held", None, 1.0, [], "nothing holds")
    tenth = [made_visit(n, load, 0.1, goal=ERRORS) for n, load in enumerate((1, 2, 4, 5, 8), 1)]
    assert of(made_search(*tenth, goals=(ERRORS,))) == ("no load held", None, 1.0, [], None)
    changed = made_search(*in_turn(*(("visit", load, share) for load, share in CHANGES)))
    assert of(changed) == ("the server changed", None, None, [], None)
    # If the server changed, no load is named as certain to hold.
    scouts = [("scout", 16.0, 0.0), ("scout", 64.0, 0.9)]
    sure = made_search(*in_turn(*scouts, *(("visit", load, share) for load, share in CHANGES), ("visit", 5.0, 0.0)))
    known = sure.known()
    assert known is not None
    assert known.held is not None
    assert of(sure) == ("the server changed", None, None, [], None)
    assert of(made_search(*in_turn(*SCOUTS))) == ("none", None, None, [], None)


def test_nothing_in_the_file_is_above_the_limit_or_above_what_was_tried() -> None:
    rows = [("scout", 20.0, 0.0), ("scout", 41.0, 0.5), ("visit", 36.0, 0.0), ("visit", 40.0, 0.012)]
    kept = kept_of(made_search(*in_turn(*rows), most=41.0), Ending.BUDGET)
    assert max(kept["capacity"].values()) == 41.0
    tried = kept_of(made_search(*in_turn(*rows), most=1_000.0), Ending.BUDGET)
    assert max(tried["capacity"].values()) == 41.0


def test_a_load_that_is_required_is_in_the_file() -> None:
    def required(load: float) -> tuple[bool, bool]:
        kept = kept_of(BRACKET, None, load)["required"]
        assert kept["load"] == load
        return kept["held"], kept["probability"] >= 0.95

    assert required(34.0) == (True, True)
    # 35.1/s is as certain, but no visit went there.
    assert required(35.1) == (False, True)
    assert required(40.0) == (False, False)
    assert kept_of(BRACKET)["required"] is None
    assert kept_of(made_search(), None, 5.0)["required"] == {"load": 5.0, "probability": None, "held": False}


NEW = ("conclusion", "at_least", "below")


def test_a_file_of_before_there_were_conclusions_is_resumed() -> None:
    kept = kept_of(BRACKET, Ending.BUDGET)
    for name in NEW:
        del kept[name]
    for visit in kept["visits"]:
        del visit["e2el_first_s"]
    resumed = from_json(kept, SHA256)
    assert [replace(result, e2el_first_s=1.0) for result in resumed.results] == BRACKET.results
    assert resumed.next() == BRACKET.next()
    assert conclude(resumed) == conclude(BRACKET)


def test_a_file_of_before_there_were_conclusions_is_rendered(tmp_path: Path) -> None:
    config = resolve({"url": "http://127.0.0.1:8000", "rate": 1.0, "slo": [P99.text], "name": "search"})
    place = SearchDirectory.create(tmp_path / "search", config, {"started": "2026-01-02T03:04:05+00:00"})
    place.write(BRACKET, config_sha256(config, "rate"), Ending.BUDGET, 30.0)
    new = render_again(place.path)
    kept = orjson.loads((place.path / SEARCH).read_bytes())
    for name in NEW:
        del kept[name]
    kept["required"] = {"load": 30.0, "probability": 0.99}
    for visit in kept["visits"]:
        del visit["e2el_first_s"]
    (place.path / SEARCH).write_bytes(orjson.dumps(kept))
    old = render_again(place.path)
    assert (old.text, old.brief, old.exit) == (new.text, new.brief, Exit.GOOD)
    assert old.text.startswith("It holds up to 38.4/s: between 36.7 and 39.8/s (about 90% sure).")
    assert "Holds up to" in (place.path / "search.html").read_text()


@pytest.mark.parametrize("content", [b"\0", b"config:\n  url: x\n  api"])
def test_settings_that_are_damaged_are_named(content: bytes, tmp_path: Path) -> None:
    config = resolve({"url": "http://127.0.0.1:8000", "rate": 1.0, "slo": [P99.text], "name": "search"})
    place = SearchDirectory.create(tmp_path / "search", config, {})
    place.write(BRACKET, config_sha256(config, "rate"), Ending.BUDGET, 30.0)
    place.settings.write_bytes(content)
    with pytest.raises(UsageError, match=r"search\.yaml is damaged: "):
        render_again(place.path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("settings", "start"), 0.0),
        (("settings", "least"), -1.0),
        (("settings", "budget_s"), 1e13),
        (("settings", "least"), 200_000.0),
        (("objectives",), []),
        (("objectives", 0, "allowed"), 1.0),
        (("objectives", 0, "allowed"), 0.0),
        (("visits", 0, "load"), 0.0),
        (("visits", 0, "measure_s"), 0.0),
        (("visits", 0, "seconds"), -1.0),
        (("visits", 0, "settle_s"), 1e13),
        (("visits", 0, "n"), -1),
        (("visits", 0, "requests"), -1),
        (("visits", 0, "e2el_p90_s"), 0.0),
        (("visits", 0, "e2el_first_s"), -2.0),
        (("visits", 0, "e2el_first_s"), 1e13),
        (("visits", 0, "violations", P99.text), -1),
        (("visits", 0, "jobs", "job:p90<60s"), -1),
        (("visits", 0, "about", P99.text), -1),
        (("visits", 0, "act", P99.text), 0.0),
        (("visits", 0, "means", MEAN.text, "load"), 0.0),
        (("visits", 0, "means", MEAN.text, "error"), 0.0),
        (("visits", 0, "phase"), "stroll"),
        (("load_kind",), "tokens"),
    ],
)
def test_what_no_search_has_written_is_refused(place: tuple[Any, ...], value: object) -> None:
    full = made_visit(1, 12.0, jobs={"job:p90<60s": 4}, about={P99.text: 9}, means={MEAN.text: Mean(12.0, -0.2, 0.04)})
    kept = kept_of(made_search(full, goals=(P99, MEAN)))
    from_json(copy.deepcopy(kept), SHA256)
    here: Any = kept
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    with pytest.raises(UsageError, match="damaged"):
        from_json(kept, SHA256)


def test_the_largest_number_that_can_be_is_read() -> None:
    kept = kept_of(made_search(made_visit(1, 12.0)))
    kept["visits"][0]["seconds"] = 1e12
    assert from_json(kept, SHA256).seconds == 1e12


def test_limits_that_a_file_does_not_name_have_their_defaults() -> None:
    kept = kept_of(made_search(made_visit(1, 12.0)))
    kept["settings"] = {}
    defaults = from_json(copy.deepcopy(kept), SHA256).settings
    assert (defaults.least, defaults.most) == (0.1, 100_000.0)
    for settings in ({"most": 0.05}, {"least": 100_001.0}):
        kept["settings"] = settings
        with pytest.raises(UsageError, match="its lowest load is above its highest"):
            from_json(copy.deepcopy(kept), SHA256)
    for settings in ({"most": 0.1}, {"least": 100_000.0}, {"least": 5.0, "most": 5.0}):
        kept["settings"] = settings
        from_json(copy.deepcopy(kept), SHA256)


def test_the_smallest_and_the_largest_number_are_read() -> None:
    kept = kept_of(made_search(made_visit(1, 12.0)))
    kept["settings"] |= {"precision": 1e-9, "budget_s": 1e12}
    kept["visits"][0] |= {"load": 1e-9, "measure_s": 1e12, "requests": 0, "violations": {P99.text: 0}}
    assert from_json(copy.deepcopy(kept), SHA256).results[0].load == 1e-9
    for name, value in (("load", 0.9e-9), ("measure_s", 1.1e12), ("requests", 2 * 10**12)):
        wrong = copy.deepcopy(kept)
        wrong["visits"][0][name] = value
        with pytest.raises(UsageError, match="visit 1 has a number that cannot be"):
            from_json(wrong, SHA256)


def test_more_violations_than_were_judged_are_refused() -> None:
    kept = kept_of(made_search(made_visit(1, 12.0)))
    visit = kept["visits"][0]
    visit["requests"] = 40
    for counts, most in (
        ({}, 40),
        ({"about": {P99.text: 30}}, 30),
        ({"about": {P99.text: 30}, "jobs": {P99.text: 50}}, 50),
    ):
        visit |= counts | {"violations": {P99.text: most}}
        assert from_json(copy.deepcopy(kept), SHA256).results[0].share(P99.text) == 1.0
        visit["violations"] = {P99.text: most + 1}
        with pytest.raises(UsageError, match="visit 1 has a number that cannot be"):
            from_json(copy.deepcopy(kept), SHA256)


def test_of_a_damaged_file_ten_problems_are_named_and_the_others_counted() -> None:
    kept = kept_of(made_search(*[made_visit(n, 12.0) for n in range(1, 13)]))
    for visit in kept["visits"]:
        visit["load"] = "high"
    with pytest.raises(UsageError) as caught:
        from_json(kept, SHA256)
    assert len(caught.value.problems) == 11
    assert caught.value.problems[-1] == "search.json is damaged: and 2 more"
