"""A page in a browser, with its errors and network requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def open_page(
    browser: Browser, path: Path, scheme: Literal["light", "dark"] = "light", width: int = 1280, *, scripts: bool = True
) -> tuple[Page, list[str]]:
    """The page, and the list that collects its errors and requests."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=scripts)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else complaints.append(request.url),
    )
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(path.as_uri())
    return page, complaints
