"""Prints progress, problems, and the result of a run."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from bench.errors import PRECEDENCE, Exit

if TYPE_CHECKING:
    from pathlib import Path

    from bench.accuracy.sweep import Sweep
    from bench.config import RunConfig
    from bench.documents.document import Document, Level
    from bench.evaluate import Result
    from bench.load_search.render import Rendered
    from bench.results.base import Result as FileContent

_LONGEST = 4_000


def complain(problems: Sequence[str]) -> None:
    """Print problems to stderr."""
    if len(problems) == 1:
        print(f"error: {_readable(problems[0])}", file=sys.stderr)
        return
    print(f"error: {len(problems)} problems", file=sys.stderr)
    for problem in problems:
        print(f"  - {_readable(problem)}", file=sys.stderr)


def _readable(problem: str) -> str:
    """A problem as printable text. It may contain given values or a server's reply, which can be of any length and must
    not control the terminal. Undecodable bytes of a path stay."""
    problem = "".join(c if c.isprintable() or c in "\n\t" or "\udc80" <= c <= "\udcff" else " " for c in problem)
    return problem if len(problem) <= _LONGEST else f"{problem[:_LONGEST]} … ({len(problem):,} characters)"


_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n 4096), or lower the load",
    errno.ENFILE: "the system-wide limit of open files is reached: lower the load",
    errno.ENOSPC: "make room, or name another directory with --out",
    errno.EDQUOT: "make room, or name another directory with --out",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or name another directory with --out",
    errno.EROFS: "name another directory with --out",
    errno.EACCES: "choose a place that you can write to",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.EIO: "the disk or the file is broken",
    errno.ENOMEM: "lower the load, or use a machine with more memory",
}
"""Errors that come from the machine rather than a defect of ours, with advice."""


def problem_of_the_machine(error: Exception) -> str | None:
    """The message for an error that the machine caused; None for every other error."""
    if isinstance(error, MemoryError):
        return "the memory of this machine is full: lower the load, or use a machine with more memory"
    if not isinstance(error, OSError) or error.errno not in _REMEDIES:
        return None
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}: {_REMEDIES[error.errno]}"


def finish(config: RunConfig, result: Result) -> int:
    """Print the result of a run. Returns its exit status."""
    for problem in result.problems:
        print(f"warning: {_readable(problem)}", file=sys.stderr)
    return print_result(result, config.format, quiet=config.quiet, details=config.details)


_PLAIN = {
    "–": "-", "−": "-", "—": "-", "±": "+-", "×": "x", "·": "|", "…": "...", "≥": ">=", "≤": "<=", "→": "->", "µ": "u",
    "“": '"', "”": '"', "’": "'", "»": ">", "«": "<", "─": "-", "━": "=", "│": "|", "├": "|", "└": "`", "°": "",
}  # fmt: skip
"""Replacements for our symbols if the locale cannot encode them."""


def never_too_narrow(stream: TextIO) -> None:
    """Make a stream accept every text. In a locale other than UTF-8, missing symbols get plain replacements, and other
    letters become `?`. On a terminal with locale C our symbols are replaced too; other letters stay UTF-8. Undecodable
    bytes of a path stay as they are."""
    ascii_only = stream.isatty() and _is_locale_c()

    def plain(error: UnicodeError) -> tuple[bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        letters = error.object[error.start : error.end]
        return b"".join(
            bytes([ord(c) - 0xDC00])
            if "\udc80" <= c <= "\udcff"
            else _PLAIN.get(c, c if ascii_only else "?").encode(errors="replace")
            for c in letters
        ), error.end

    if isinstance(stream, io.TextIOWrapper) and (ascii_only or stream.errors in ("strict", "surrogateescape")):
        errors = "trueload-ascii" if ascii_only else "trueload-plain"
        codecs.register_error(errors, plain)
        stream.reconfigure(encoding="ascii" if ascii_only else None, errors=errors)


def _is_locale_c() -> bool:
    """Whether the environment sets the locale C, or none. In that case Python also writes UTF-8, and sets LC_CTYPE."""
    if not sys.flags.utf8_mode or "PYTHONUTF8" in os.environ:
        return False
    named = [os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    return next((name for name in named if name not in ("", "C.UTF-8")), "C") in ("C", "POSIX")


def _forget_output() -> None:
    """Discard pending output to stdout: the interpreter would fail on it at exit, and change the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_is_lost() -> bool:
    """Whether stdout is broken. If so, pending output is discarded."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
        return True
    return False


def print_result(result: Result, form: str, *, quiet: bool, details: bool = False) -> int:
    """Print the result. Returns its exit status; 2 on a full disk."""
    try:
        _write(result, form, quiet=quiet, details=details)
        sys.stdout.flush()
    except OSError as e:
        _forget_output()
        complain([f"the result cannot be printed ({e.strerror}): it is in {result.directory.path}"])
        return min(Exit.USAGE, result.exit, key=PRECEDENCE.index)
    return result.exit


def print_search(rendered: Rendered, form: str, *, quiet: bool) -> int:
    """Print the result of a search. Returns its exit status."""
    if form == "json" or quiet or not sys.stdout.isatty():
        sys.stdout.write(rendered.json if form == "json" else rendered.brief if quiet else rendered.text)
    else:
        from bench.documents.document import Level
        from bench.report import text

        text.show(rendered.document, Level.USUAL)
        print(f"\npage: {rendered.page}")
    return rendered.exit


def show(
    content: FileContent | Mapping[str, object],
    document: Document,
    form: str,
    level: Level | None = None,
    below: str = "",
) -> None:
    """Print a result as JSON, or its document up to a level (None for the first screen) followed by the text `below`."""
    if form == "json":
        from bench.results.base import to_bytes

        sys.stdout.write(to_bytes(content).decode())
        return
    from bench.documents.document import Level
    from bench.report import text

    text.show(document, Level.FIRST if level is None else level)
    if below:
        print(f"\n{below}")


def show_calibration_sweep(sweep: Sweep, folder: Path, form: str) -> int:
    """Print a sweep of calibrate. Returns its exit status."""
    from bench.documents.calibration_sweep_document import calibration_sweep_document
    from bench.documents.document import Level

    show(sweep.to_json(), calibration_sweep_document(sweep), form, Level.USUAL, f"sweep: {folder / 'sweep.html'}")
    return Exit.INVALID if all(row is None for row in sweep.trusted.values()) else Exit.GOOD


def _write(result: Result, form: str, *, quiet: bool, details: bool) -> None:
    if form == "csv":
        from bench.report import metric_table

        sys.stdout.write(metric_table.to_csv(result.summary))
    elif form == "markdown":
        from bench.documents.run_document import run_document
        from bench.report import markdown

        sys.stdout.write(markdown.render(run_document(result.summary)))
    elif form == "json":
        # Imported late: without Trueload's packages, this module prints what is missing.
        from bench.results.base import to_bytes

        sys.stdout.write(to_bytes(result.summary).decode())
    else:
        from bench.documents.certificate_document import ledger_document
        from bench.documents.document import Level
        from bench.documents.run_document import run_document
        from bench.report import text  # Imports rich, which only this format needs.
        from bench.results.certificate import LedgerCalibration

        level = Level.BRIEF if quiet else Level.DETAILS if details else Level.FIRST
        text.show(run_document(result.summary), level)
        if not quiet:
            calibration = result.summary.calibration
            if isinstance(calibration, LedgerCalibration):
                print()
                text.show(ledger_document(calibration), Level.DETAILS if details else Level.USUAL)
            print(f"\nreport: {result.directory.path / 'report.html'}")
            if isinstance(calibration, LedgerCalibration):
                print(f"certificate: {result.directory.path / 'certificate.html'}")
