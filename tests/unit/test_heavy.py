"""The list of heavy tests matches the files. A single measurement changes only clear cases."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.heavy import HEAD, LEAST_S, LIST, MOST_S, heavy

ROOT = Path(__file__).parents[2]


def test_every_listed_function_exists() -> None:
    lines = LIST.read_text(encoding="utf-8").splitlines(keepends=True)
    assert lines[0] == HEAD
    names = [line.strip() for line in lines[1:]]
    assert names == sorted(set(names))
    functions: dict[str, set[str]] = {}
    for file in {name.partition("::")[0] for name in names}:
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        functions[file] = set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
    gone = [name for name in names if name.partition("::")[2] not in functions[name.partition("::")[0]]]
    assert gone == [], (
        "these tests were renamed or deleted: rename them in tests/heavy.txt too, or run scripts/heavy-tests"
    )


def test_a_function_is_listed_by_the_mean_of_its_tests_and_stays_until_it_is_clearly_lighter() -> None:
    between = (MOST_S + LEAST_S) / 2
    measured = [
        *[("t.py::test_one_of_many_is_heavy[x]", used) for used in (2 * MOST_S, 0.0, 0.0)],
        *[("t.py::test_new[a::b[0]]", used) for used in (0.0, 3 * MOST_S)],
        ("t.py::test_between", between),
        ("t.py::test_listed_between", between),
        ("t.py::test_listed_light", LEAST_S / 2),
    ]
    before = {f"t.py::test_{name}" for name in ("listed_between", "listed_light", "not_measured")}
    assert heavy(measured, frozenset(before)) == [
        "t.py::test_listed_between",
        "t.py::test_new",
        "t.py::test_not_measured",
    ]
