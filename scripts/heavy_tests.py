"""Rewrites tests/heavy.txt: see scripts/heavy-tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.heavy import HEAD, LIST, MEASURED, function_of, heavy, listed  # noqa: E402


def main(words: list[str]) -> int:
    """Run the tests, then write the list; returns pytest's status."""
    files = [word for word in words if word.startswith("tests/")]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "tests.jsonl"
        command = [sys.executable, "-m", "pytest", "-n", "auto", "-q", "-p", "tests.support.heavy"]
        command += [
            "-m",
            "not slow and not processes and not long",
            *([] if files else ["tests/unit", "tests/virtual"]),
            *words,
        ]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, MEASURED: str(kept)}, check=False).returncode
        measured = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    before = listed()
    names = heavy(measured, before)
    if not files:  # Everything was measured: a function without a measurement no longer exists.
        functions = {function_of(node_id) for node_id, _ in measured}
        names = [name for name in names if name in functions]
    LIST.write_text(HEAD + "".join(f"{name}\n" for name in names), encoding="utf-8")
    left_out = sum(function_of(node_id) in names for node_id, _ in measured)
    rest_s = sum(used for node_id, used in measured if function_of(node_id) not in names)
    print(f"{len(names):,} functions listed ({len(set(names) - before)} new, {len(before - set(names))} gone).")
    print(f"Of {len(measured):,} measured tests, --quick leaves out {left_out:,}; the others need {rest_s:.0f} s.")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
