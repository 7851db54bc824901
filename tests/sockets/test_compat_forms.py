"""scripts/compat-forms, with a tool of the test's own: a number that is a whole gap off is seen, and what fails is said."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
COLUMN = {"ttft_ms": {"mean": 80.0}, "tpot_ms": {"mean": 40.0}, "itl_ms": None, "e2el_ms": {"mean": 160.0}}
FORM = "a role chunk first"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = importlib.import_module("compat_forms")
    monkeypatch.setattr(script, "_summary", lambda form: {"compat": {"vllm": COLUMN}})
    yield script
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("compat_forms", "compared"):
            del sys.modules[name]


def printed_of(script: ModuleType, monkeypatch: pytest.MonkeyPatch, succeeded: int, **means: float) -> int:
    """The status of the script for a tool that fetches one reply and prints these numbers."""
    fetch = (
        "import sys, urllib.request as u; p = u.Request(sys.argv[1], b'{}'); "
        "open('reply', 'wb').write(u.urlopen(p).read()); sys.exit(int(sys.argv[2]))"
    )

    def read(run: Path) -> Any:
        events = (run / "reply").read_text().split("\n\n")
        assert [json.loads(event[6:])["choices"] for event in events[:2]] == [
            [{"index": 0, "delta": {"role": "assistant", "content": ""}}],
            [{"index": 0, "delta": {"content": "one"}}],
        ]
        return importlib.import_module("compared").Printed(
            succeeded, 9, {f"{name}_ms": {"mean": mean} for name, mean in means.items()}
        )

    tool = importlib.import_module("compared").Tool(
        title="own", version="1", compat="vllm", install=lambda folder: None, read=read,
        command=lambda load, url, place: [sys.executable, "-c", fetch, url, "0" if succeeded >= 0 else "7"],
    )  # fmt: skip
    monkeypatch.setattr(script, "TOOLS", {"own": tool})
    monkeypatch.setattr(sys, "argv", ["compat-forms", "--tools", "own", "--forms", FORM])
    status: int = script.main()
    return status


def test_a_number_within_a_quarter_of_a_gap_agrees_and_one_beyond_differs(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed_of(script, monkeypatch, 3, ttft=89.9, tpot=30.1, e2el=160.0) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        FORM,
        "  own                            ttft 89.9 / 80.0; tpot 30.1 / 40.0; e2el 160.0 / 160.0",
        "",
        "0 of 1 rows differ",
    ]
    assert printed_of(script, monkeypatch, 2, ttft=90.1, itl=40.0) == 1
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  own                            ttft 90.1 / 80.0 DIFFERS; itl 40.0 / - DIFFERS (2 of 3 succeeded)",
        "",
        "1 of 1 rows differ",
    ]
    # NaN in place of a value that the column has, and in place of one that it has not.
    assert printed_of(script, monkeypatch, 3, ttft=math.nan, itl=math.nan) == 1
    assert "ttft nan / 80.0 DIFFERS; itl nan / -\n" in capsys.readouterr().out


def test_a_tool_that_takes_no_such_reply_has_no_numbers_to_compare(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed_of(script, monkeypatch, 0, ttft=0.0) == 0
    assert "own                            counts no such reply as succeeded" in capsys.readouterr().out
    assert printed_of(script, monkeypatch, -1) == 0
    assert "own                            it ended with status 7: " in capsys.readouterr().out


def test_unknown_tools_and_forms_are_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compat-forms", "--tools", "ab,trueload", "--forms", f"x,{FORM}"])
    with pytest.raises(SystemExit):
        script.main()
    said = capsys.readouterr().err
    assert "--tools: ab, trueload: there are vllm_rust, " in said
    assert "--forms: x: there are a role chunk first, " in said
