"""The system's browser, driven by tests and scripts through Playwright."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs, best first: the shell only renders pages; the others also draw an invisible window, for twice the processor
time."""
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync")  # fmt: skip


def browser_path() -> str | None:
    """The path of the first installed one."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)
