"""sweep.json that was changed by hand, or by a disk: a sentence says what is wrong, and nothing of it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench.report
from bench import cli
from bench.errors import Exit, UsageError
from bench.load_sweep.stored import read
from bench.results.base import to_plain
from tests.support.made_sweeps import LADDER, content

SCHEMA = json.loads((Path(bench.report.__file__).parent / "load_sweep.schema.json").read_text())


def required(schema: dict[str, Any], value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of everything that the schema says must be there, as far as this content has it."""
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


def kept(path: Path, place: tuple[str | int, ...], *value: Any) -> Path:
    """The sweep with another value at a place, or with nothing there."""
    changed = json.loads(TEXT)
    inner: Any = changed
    for step in place[:-1]:
        inner = inner[step]
    if value:
        inner[place[-1]] = value[0]
    else:
        del inner[place[-1]]
    path.write_text(json.dumps(changed))
    return path


OTHERS: tuple[tuple[Any, ...], ...] = ((), (["x"],), ({"x": []},))
"""Nothing, a list and an object."""


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(WHOLE))
    assert to_plain(read(path)) == WHOLE
    # Of more than a hundred places, in runs and points, in their numbers and in the knee.
    assert {("runs", 0, "numbers", "ttft:p99", "low"), ("points", 0, "place", "overlaps"), ("knee", "half_at")} <= set(
        PLACES
    )


def test_nothing_that_the_schema_asks_for_may_be_missing_or_of_another_kind(tmp_path: Path) -> None:
    wrong: list[tuple[tuple[str | int, ...], tuple[Any, ...], str | None]] = []
    for place in PLACES:
        for value in OTHERS:
            if value and place in {("host",), ("config",), ("command",)}:
                continue  # Every list, or every object, is right there.
            if value and place[-1] == "reasons" and isinstance(value[0], list):
                continue
            path = kept(tmp_path / "sweep.json", place, *value)
            said = refusal(path)
            if said is None or (str(place[-1]) not in said and place[-1] != "schema"):
                wrong.append((place, value, said))
    assert wrong == []


def refusal(path: Path) -> str | None:
    """What is said of the file; None: it is taken."""
    try:
        read(path)
    except UsageError as e:
        return str(e)
    return None


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
    kept(tmp_path / "sweep.json", place, value)
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
