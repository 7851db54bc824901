"""The table of attacks: its rows, its output, and the text of a cell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import attacks  # noqa: E402
from attacked import ATTACKS  # noqa: E402
from attacked.checkout import Ran  # noqa: E402


def ran(tmp_path: Path, **changes: object) -> Ran:
    counts = {"by_outcome": {"ok": 12, "stream_error": 3}}
    verdict = {"status": "SUSPECT", "reasons": ["requests left late: p99 2 ms", "3 of 15 requests failed (20%)"]}
    (tmp_path / "summary.json").write_text(json.dumps({"counts": counts, "verdict": verdict}))
    given = {"status": 0, "out": "", "err": "", "took_s": 1.0, "peak_mb": 50.0, "folder": tmp_path}
    return Ran(**{**given, **changes})  # type: ignore[arg-type]


def test_a_cell_names_verdict_exit_outcomes_and_the_reason_that_it_is_about(tmp_path: Path) -> None:
    said = "SUSPECT, exit 0; 12 ok, 3 stream_error"
    assert ran(tmp_path).words("failed") == f"{said}; 3 of 15 requests failed (20%)"
    assert ran(tmp_path).words("stood still") == f"{said} (for: requests left late: p99 2 ms)"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": None}, "did not end in 120 s"),
        ({"status": 2, "err": "error: no such file\n"}, "exit 2: error: no such file"),
        (
            {"status": 70, "err": "Traceback (most recent call last):\nOSError: 24\n"},
            "exit 70: a traceback: OSError: 24",
        ),
    ],
)
def test_a_run_without_a_report_is_told_by_its_last_words(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    assert ran(tmp_path, **changes, folder=tmp_path / "none").words() == words


def test_the_table_has_both_checkouts_and_no_cell_breaks_it() -> None:
    said = {"Numbers": {"a | b": ["VALID", "INVALID; TPOT <1 ms"]}}
    assert attacks.tables(said).splitlines() == [
        "Numbers:",
        "",
        "| attack | before | now |",
        "|---|---|---|",
        "| a \\| b | VALID | INVALID; TPOT &lt;1 ms |",
    ]
    assert "| attack | now |" in attacks.tables({"Numbers": {"a": ["VALID"]}})


def test_every_kind_of_attack_has_some() -> None:
    assert {section: len(found) >= 10 for section, found in ATTACKS.items()} == dict.fromkeys(ATTACKS, True)
