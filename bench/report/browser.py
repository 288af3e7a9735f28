"""Chromium without a window, for a page of its own machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from bench.report import png

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 600_000  # milliseconds; other programs may have the processor meanwhile
SIZE: ViewportSize = {"width": 1100, "height": 760}


def find() -> str | None:
    """The program, if it is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser, driven by playwright."""
    program = find()
    if program is None:
        raise SystemExit(f"none of {', '.join(NAMES)} is installed: apt-get install chromium")
    # Its sandbox cannot be had by root, as which containers run.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=arguments, timeout=PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()


def screenshot(browser: Browser, page: Path, file: Path) -> None:
    """The section of a page that has its first chart, with few colours."""
    tab = browser.new_page(viewport=SIZE)
    tab.set_default_timeout(PATIENCE)
    tab.goto(page.resolve().as_uri())
    section = tab.locator("section:has(.chart)").first
    section.evaluate("section => section.scrollIntoView()")
    for chart in section.locator(".chart").all():
        chart.locator("svg").first.wait_for()
    tab.screenshot(path=file)
    tab.close()
    png.shrink(file)
