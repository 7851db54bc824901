"""docs/commands.md and docs/man/: what each command says with --help."""

from __future__ import annotations

import os
from pathlib import Path

import man_pages

from bench import cli
from bench.commands import COMMANDS, help_text

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"

_HEAD = """\
# Commands

What each command says with `--help`. `trueload` is short for `python -m bench`, `trueload-mock` for `python -m mockserver`,
and `trueload-promptset` for `python -m promptset`. `scripts/command-pages` writes this page. [usage.md](usage.md) explains
the flags of a run, [mock.md](mock.md) those of the mock, and [datasets.md](datasets.md) those of promptset.
"""


def page() -> str:
    """The page, made anew."""
    os.environ["XDG_CACHE_HOME"] = "~/.cache"  # Where a user's files are is not for a page to say.
    parts = [("trueload", help_text.printed(lambda: cli.main(["--help"])))]
    parts += [(f"trueload {name}", help_text.help_of(name)) for name in COMMANDS if name != "dataset"]
    parts += [(f"trueload-{name}", help_text.help_of_module(module)) for name, module in PROGRAMS.items()]
    return _HEAD + "".join(f"\n## {title}\n\n```text\n{text.rstrip()}\n```\n" for title, text in parts)


PROGRAMS = {"mock": "mockserver", "promptset": "promptset"}


if __name__ == "__main__":
    PAGE.write_text(page())
    man_pages.write()
