"""The metrics and the requests of a run as tables for other tools."""

from __future__ import annotations

from pathlib import Path

from bench.console import beside
from bench.console.errors import ConsoleError
from bench.console.language import tr
from bench.report import metric_table
from bench.results.summary import from_json
from bench.run_files.run_directory import REQUESTS

FORMATS = ("csv", "parquet")
_WITHIN_S = 600.0


def numbers(summary: Path) -> str:
    """The metrics of a summary.json as CSV, one row per metric. Raises OSError."""
    return metric_table.to_csv(from_json(summary.read_bytes()))


def request_table(directory: Path, form: str) -> Path:
    """Path of a run's table with one row per request. A low-priority `python -m bench report` process writes it.

    An existing file that is newer than the records is reused. Raises ConsoleError.
    """
    if form not in FORMATS:
        formats = " / ".join(FORMATS)
        raise ConsoleError(
            tr("requests are exported as %(formats)s, not as %(form)s", formats=formats, form=repr(form))
        )
    path = directory / f"requests.{form}"
    if (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_mtime_ns >= (directory / REQUESTS).stat().st_mtime_ns
    ):
        return path
    path.unlink(missing_ok=True)  # If there can be no new one, an old one would be taken for it.
    result = beside.ran(["report", str(directory), "--requests", form, "--quiet"], _WITHIN_S)
    if result is None:
        raise ConsoleError(tr("the table took more than %(s)s s: make it in a terminal", s=f"{_WITHIN_S:.0f}"))
    if not path.is_file():
        status, errors = result
        message = " ".join(errors.split()).removeprefix("error: ").replace(str(directory), directory.name)
        raise ConsoleError(message or tr("the command ended with status %(status)s", status=status))
    return path
