"""scripts/test-places, without the minutes: its report of a run, and of a place that cannot be created."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("test_places")
    for name in ("test_places", "platforms"):
        sys.modules.pop(name, None)


def said(*lines: str) -> str:
    return "\n".join(["== making .venv", *lines])


@pytest.mark.parametrize(
    ("status", "output", "good", "sentence"),
    [
        # Started at 1000 s; the environment was ready at 1040 s, and everything ended at 1100 s.
        (0, said("1000001040", "== tests", "=== 8 passed, 2 skipped in 58.10s ==="), True,
         "8 passed, 2 skipped in 60 s; environment 40 s"),
        (0, said("1000001040", "= 8 passed, 1 skipped in 98.10s (0:01:38) =", "skipped: 1 (needs chromium): run it"), True,
         "8 passed, 1 skipped in 60 s; environment 40 s"),
        (1, said("1000001040", "=== 1 failed, 7 passed in 58.10s ==="), False,
         "1 failed, 7 passed in 60 s; environment 40 s"),
        (0, said("1000001040"), False, "no test ran in 60 s; environment 40 s"),
        (2, said("error: python3 is older than Python 3.11"), False,
         "no environment after 100 s: error: python3 is older than Python 3.11"),
        (1, "", False, "no environment after 100 s: it said nothing"),
    ],
)  # fmt: skip
def test_a_run_becomes_a_line(script: ModuleType, status: int, output: str, good: bool, sentence: str) -> None:
    assert script.outcome(status, output, 1000001000.0, 1000001100.0) == (good, sentence)


def not_here(machine: object, name: str) -> object:
    raise sys.modules["test_places"].NotHereError(f"no {name} was found")


@pytest.mark.parametrize(("results", "status"), [((True, None), 0), ((True, False), 1), ((None,), 0)])
def test_only_tests_that_fail_make_the_status_one(
    script: ModuleType, results: tuple[bool | None, ...], status: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def made(good: bool | None) -> object:
        return not_here if good is None else lambda machine, name: script.Row(name, good, "7 passed")

    places = {f"place-{number}": ("a place", made(good)) for number, good in enumerate(results)}
    monkeypatch.setattr(script, "PLACES", places)
    monkeypatch.setattr(script, "hiding", lambda scratch: [])
    monkeypatch.setattr(sys, "argv", ["test-places"])
    assert script.main() == status
    words = {True: "passed    7 passed", False: "failed    7 passed", None: "not here  no {} was found"}
    names = [(f"place-{number}", good) for number, good in enumerate(results)]
    assert capsys.readouterr().out.splitlines() == [f"{name:<14} {words[good].format(name)}" for name, good in names]


def test_a_place_that_is_not_known_is_named(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["test-places", "user", "moon"])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2
    assert "no place is called moon: --list names them" in capsys.readouterr().err


def test_every_version_of_python_is_a_place(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["test-places", "--list", "--debian", "forky"])
    assert script.main() == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    versions = sys.modules["platforms"].versions()
    assert names == [*versions, "home", "user", "user-home", "two-users", "older", "debian"]
