"""The browser of the system that tests and scripts drive with Playwright."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs, the first best: the shell draws pages alone, the others a window around them that nobody sees, for twice the
processor time."""
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync")  # fmt: skip


def browser_path() -> str | None:
    """Of the first that is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)
