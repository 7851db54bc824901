"""Makes the pictures of docs/: starts a console with the mock, runs a short test, and takes each page in Chromium."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.support.chromium import ARGS, browser_path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"


def take(page: Page, name: str) -> None:
    """A picture of the visible part of the window."""
    page.screenshot(path=PICTURES / f"console-{name}.png")


def take_report(page: Page, runs: Path) -> None:
    """The first screen of scripts/demo's report, in 64 colours, which makes a small file."""
    subprocess.run([ROOT / "scripts" / "demo", "--out", runs / "demo"], check=True, stdout=subprocess.DEVNULL)
    page.goto((runs / "demo" / "report.html").as_uri())
    page.screenshot(path=PICTURES / "report.png")
    Image.open(PICTURES / "report.png").convert("RGB").quantize(64).save(PICTURES / "report.png", optimize=True)


def main() -> None:
    """Write every picture."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as playwright:
        command = [sys.executable, "-m", "bench", "console", "--no-browser", "--port", "0", "--runs", runs]
        console = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert console.stdout is not None
            url = console.stdout.readline().removeprefix("console ready at ").strip()
            browser = playwright.chromium.launch(executable_path=browser_path(), args=list(ARGS))
            page = browser.new_page(viewport={"width": 1024, "height": 720})
            page.goto(url)
            page.get_by_role("heading", name="No test yet").wait_for()
            page.locator(".template").first.get_by_role("button", name="Start").click()
            page.locator("#left", has_text=re.compile("about 1[0-9] s left")).wait_for(timeout=90_000)
            take(page, "live")
            page.locator("iframe.report").wait_for(timeout=90_000)
            page.get_by_role("link", name="Tasks").click()
            page.locator("tbody tr").first.wait_for()
            take(page, "tasks")
            take_report(browser.new_page(viewport={"width": 1200, "height": 815}, color_scheme="light"), Path(runs))
            browser.close()
        finally:
            console.terminate()
            console.wait()


if __name__ == "__main__":
    main()
