"""The answers of a running load to questions from outside, without a socket."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench import control
from bench.errors import UsageError
from bench.run_files.run_directory import CONTROL, RunDirectory
from tests.support.made_tasks import made_run


def door(path: Path, says: list[str]) -> Any:
    class Load:
        unit = "users"

        def load_at(self, at_ns: int) -> float:
            return at_ns / 100

        def set_load(self, load: float, by: str) -> SimpleNamespace:
            return SimpleNamespace(after=load + 1, by=by)

        def since_start_s(self, change: SimpleNamespace) -> float:
            return 2.5 if change.by == "terminal" else 0.0

    load: Any = Load()
    clock: Any = SimpleNamespace(now_ns=lambda: 700)
    return control.open_door(path, load, clock, says.append)


def test_a_load_is_told_as_it_is_now_and_a_change_with_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ControlSocket", lambda directory, answer: (directory, answer))
    says: list[str] = []
    directory, answer = door(tmp_path, says)
    assert (directory, says) == (tmp_path, [])
    assert answer(None, "terminal") == {"load": 7.0, "unit": "users", "at_s": None}
    assert answer(20.0, "terminal") == {"load": 21.0, "unit": "users", "at_s": 2.5}


@pytest.mark.parametrize("error", [OSError("no room"), AttributeError("AF_UNIX")])
def test_a_load_goes_on_without_a_socket_and_says_so(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(control, "ControlSocket", refuse)
    says: list[str] = []
    assert door(tmp_path, says) is None
    assert says == [f"note: the load cannot be changed from outside: there can be no socket ({error})"]


CANNOT = (
    "this run cannot be asked: its load is over, it is one of a search, a sweep, repeats or a calibration, or an older "
    "version sends it"
)


@pytest.mark.parametrize(
    ("state", "place", "sentence"),
    [
        ("preparing", None, "the run in {path} is preparing: set its load when that is over"),
        ("probing", None, "the run in {path} is probing: set its load when that is over"),
        ("running", None, f"{{path}}: {CANNOT}"),
        ("running", "file", f"{{path}}: {CANNOT}"),
        ("running", "link", f"{{path}}: {CANNOT}"),
    ],
)
def test_a_run_without_a_socket_of_its_own_says_why(
    state: str, place: str | None, sentence: str, tmp_path: Path
) -> None:
    path = made_run(tmp_path, "run", state=state)
    stored = yaml.safe_load((path / "run.yaml").read_text())
    del stored["config"]["requests"]
    (path / "run.yaml").write_text(yaml.safe_dump(stored))
    with socket.socket(socket.AF_UNIX) as other:
        if place == "file":
            (path / CONTROL).touch()
        elif place == "link":
            other.bind(str(tmp_path / "s"))
            (path / CONTROL).symlink_to(tmp_path / "s")
        with RunDirectory(path).held(), pytest.raises(UsageError) as refused:
            control.ask(path, 5, "x")
    assert str(refused.value) == sentence.format(path=path)


def test_a_run_that_is_over_and_a_load_that_is_no_number_are_refused(tmp_path: Path) -> None:
    path = made_run(tmp_path, "run")
    for load, sentence in (
        (5.0, f"the run in {path} has ended: its load cannot be changed"),
        (float("inf"), "inf is not a load: give a number"),
        (float("nan"), "nan is not a load: give a number"),
    ):
        with pytest.raises(UsageError) as refused:
            control.ask(path, load, "x")
        assert str(refused.value) == sentence


def test_a_run_whose_load_is_fixed_says_what_fixes_it(tmp_path: Path) -> None:
    path = made_run(tmp_path, "run", state="running")
    stored = yaml.safe_load((path / "run.yaml").read_text())
    stored["config"]["mode"] = "throughput"
    del stored["config"]["concurrency"]
    (path / "run.yaml").write_text(yaml.safe_dump(stored))
    with RunDirectory(path).held(), pytest.raises(UsageError) as refused:
        control.ask(path, None, "x")
    assert str(refused.value).startswith(f"{path}: ")
    assert CANNOT not in str(refused.value)
