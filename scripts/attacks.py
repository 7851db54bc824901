"""Runs made to deceive Trueload, and what it reports: a wrong number must not be VALID, nor an error a success.

    scripts/attacks                     what this checkout reports
    scripts/attacks --against DIR       what the checkout in DIR reports, beside it
    scripts/attacks --only stop         attacks whose names contain this word
    scripts/attacks --json F            save the results in F; --table F prints their table again

DIR is a clone of this repository at an earlier commit; it is run with the packages of this one. The servers are on
127.0.0.1, all loads are small, and no attack takes longer than two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from attacked import ATTACKS, Attack  # noqa: E402
from attacked.checkout import Checkout  # noqa: E402

Said = dict[str, dict[str, list[str]]]
"""Section -> attack -> the result of each checkout, the earlier one first."""


def tables(said: Mapping[str, Mapping[str, list[str]]]) -> str:
    """The results as Markdown tables."""
    lines: list[str] = []
    for section, rows in said.items():
        before = any(len(cells) > 1 for cells in rows.values())
        lines += [f"{section}:", "", "| attack | before | now |" if before else "| attack | now |"]
        lines.append("|---|---|---|" if before else "|---|---|")
        lines += [f"| {_cell(name)} | {' | '.join(map(_cell, cells))} |" for name, cells in rows.items()]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _said(attack: Attack, checkout: Checkout) -> str:
    try:
        return attack(checkout)
    except Exception as e:  # A broken attack must not end the others.
        return f"the attack broke: {type(e).__name__}: {e}"


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the attacks."""
    parser = argparse.ArgumentParser(
        prog="scripts/attacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout to attack as well")
    parser.add_argument("--only", default="", metavar="WORD", help="attacks and sections whose names have this word")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add what was said to this file")
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print the table of such a file")
    flags = parser.parse_args()
    if flags.table:
        print(tables(json.loads(flags.table.read_text())))
        return
    signal.signal(signal.SIGTERM, interrupt)
    said: Said = json.loads(flags.json.read_text()) if flags.json and flags.json.exists() else {}
    with tempfile.TemporaryDirectory(prefix="attacks-") as scratch:
        checkouts = [Checkout(folder.resolve(), Path(scratch)) for folder in (flags.against, ROOT) if folder]
        with contextlib.suppress(KeyboardInterrupt):
            for section, attacks in ATTACKS.items():
                for name, attack in attacks.items():
                    if flags.only.lower() in f"{section} {name}".lower():
                        cells = [_said(attack, checkout) for checkout in checkouts]
                        said.setdefault(section, {})[name] = cells
                        print(f"{name}: {' -> '.join(cells)}", file=sys.stderr, flush=True)
                        if flags.json:
                            flags.json.write_text(json.dumps(said, indent=1))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.platform()}, Python {platform.python_version()}\n")
    print(tables(said))


if __name__ == "__main__":
    main()
