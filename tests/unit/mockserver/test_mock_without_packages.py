"""`python -m mockserver` with a missing package: the message gives advice. Defects of ours remain tracebacks."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

import mockserver


def start(missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the mock without this module."""
    cli = ModuleType("mockserver.cli")

    def not_there(name: str) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    vars(cli)["__getattr__"] = not_there
    monkeypatch.setitem(sys.modules, "mockserver.cli", cli)
    runpy.run_path(str(Path(mockserver.__file__).with_name("__main__.py")), run_name="__main__")


def test_a_missing_package_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        start("orjson", monkeypatch)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {sys.executable} has no module 'orjson': Trueload is not installed there.")


@pytest.mark.parametrize("missing", ["mockserver.gone", "mockserver", None])
def test_a_module_of_ours_that_is_missing_is_a_defect(missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        start(missing, monkeypatch)
