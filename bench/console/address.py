"""The address of a console: printed, and stored for `bench tasks` in a file that only its user can read."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.console.tasks import OWN_FOLDER
from bench.errors import UsageError
from bench.run_files.writable import make_directory

ADDRESS, DOOR = "address", "open.html"


def urls_of(host: str, port: int, token: str, *, tls: bool = False) -> tuple[str, str]:
    """The URL without the token, and with it."""
    shown = "127.0.0.1" if host == "0.0.0.0" else host
    place, scheme = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}", "https" if tls else "http"
    base = f"{scheme}://{place}"
    return base, f"{base}/?{urlencode({'token': token})}"


def keep(runs: Path, url: str) -> None:
    """Store the address of this runs folder's console, readable only by its user."""
    _write(runs / OWN_FOLDER / ADDRESS, url)


def door(runs: Path, url: str) -> str:
    """Return the address of a file that redirects to the URL. Other users can see the browser's command line, but
    cannot read the file."""
    path = runs.resolve() / OWN_FOLDER / DOOR
    make_directory("--runs", path.parent)  # The console may be on another machine.
    _write(path, f'<!doctype html><meta charset=utf-8><meta http-equiv=refresh content="0;url={url}">')
    return path.as_uri()


def forget(runs: Path) -> None:
    """Delete both files when the console ends: its token is no longer valid."""
    for name in (ADDRESS, DOOR):
        (runs / OWN_FOLDER / name).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Write a file that only its user can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def read(runs: Path) -> tuple[str, str]:
    """Read the base URL and the token of the console of a runs folder. Raises UsageError if none was started."""
    try:
        parts = urlsplit((runs / OWN_FOLDER / ADDRESS).read_text())
    except OSError:
        raise UsageError(f"no console was started for {runs}: python -m bench console --runs {runs}") from None
    return f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query).get("token", [""])[0]
