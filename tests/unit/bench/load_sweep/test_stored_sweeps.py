"""sweep.json changed by hand or by a bad disk: a sentence names the problem, and nothing from the file is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import bench.report
from bench import cli
from bench.errors import Exit, UsageError
from bench.load_sweep.stored import read
from bench.results.base import to_plain
from bench.run_files import shape
from tests.support.made_sweeps import LADDER, content

SCHEMA = json.loads((Path(bench.report.__file__).parent / "load_sweep.schema.json").read_text())


def required(schema: dict[str, Any], value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value that the schema requires, as far as this content has it."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        yield from required(option, value, place)
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            yield (*place, name)
            yield from required(schema["properties"][name], value[name], (*place, name))
    elif isinstance(value, list) and value and isinstance(schema.get("items"), dict):
        yield from required(schema["items"], value[0], (*place, 0))


FEW = LADDER[2:8:2] + LADDER[7:]
WHOLE = content(FEW)
TEXT = json.dumps(WHOLE)
PLACES = list(required(SCHEMA, WHOLE))


def damaged(places: Iterable[tuple[str | int, ...]], *value: Any) -> str:
    """The sweep with another value at these paths, or without them."""
    changed = json.loads(TEXT)
    for place in places:
        inner: Any = changed
        for step in place[:-1]:
            inner = inner[step]
        if value:
            inner[place[-1]] = value[0]
        else:
            del inner[place[-1]]
    return json.dumps(changed)


OTHERS: tuple[tuple[Any, ...], ...] = ((), (["x"],), ({"x": []},))
"""Nothing, a list and an object."""


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(WHOLE))
    assert to_plain(read(path)) == WHOLE
    # There are more than a hundred paths, in runs, points, their numbers, and the knee.
    assert {("runs", 0, "numbers", "ttft:p99", "low"), ("points", 0, "place", "overlaps"), ("knee", "half_at")} <= set(
        PLACES
    )


def read_with(place: tuple[str | int, ...]) -> tuple[int, bool, bool]:
    """Checks paths with the same expected result together. No path lies within another, earlier damage does not stop
    the check, and numbers are counted if all types are right."""
    return len(place), place[-2:-1] == ("numbers",), place == ("schema",)


def is_right(place: tuple[str | int, ...], *value: Any) -> bool:
    """Every list, or every object, is valid there."""
    return bool(value) and (
        place in {("host",), ("config",), ("command",)} or (place[-1], value) == ("reasons", (["x"],))
    )


def test_nothing_that_the_schema_asks_for_may_be_missing_or_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape, "_PROBLEMS_SHOWN", len(PLACES))
    path = tmp_path / "sweep.json"
    for value in OTHERS:
        for _, group in groupby(sorted(PLACES, key=read_with), read_with):
            places = [place for place in group if not is_right(place, *value)]
            path.write_text(damaged(places, *value))
            with pytest.raises(UsageError) as told:
                read(path)
            if places == [("schema",)]:
                assert "is not a sweep of this version" in str(told.value)
                continue
            said = [problem.removeprefix(f"{path}: ") for problem in told.value.problems]
            assert [place for place in places if not any(re.match(rf"{named(place)}[ .[]", one) for one in said)] == []


def named(place: tuple[str | int, ...]) -> str:
    return re.escape("".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)[1:])


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("points", 3, "load"), "8", 'points[3].load must be a number, not "8"'),
        (("knee", "ceiling"), None, "knee.ceiling must be a number, not null"),
        (("kind",), "users", "kind must be 'concurrency' or 'sessions' or 'rate', not \"users\""),
        (("schema",), "trueload/load_sweep/9", "is not a sweep of this version (schema trueload/load_sweep/1)"),
    ],
)
def test_the_report_of_a_damaged_sweep_is_a_sentence(
    place: tuple[str | int, ...], value: Any, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text(damaged([place], value))
    assert cli.main(["report", str(tmp_path)]) == Exit.USAGE
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""


def test_of_many_problems_the_first_ten_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({**WHOLE, "points": [{**point, "load": None} for point in WHOLE["points"]] * 3}))
    with pytest.raises(UsageError) as told:
        read(path)
    assert len(told.value.problems) == 11
    assert told.value.problems[-1] == f"{path}: and {3 * len(FEW) - 10} more"
