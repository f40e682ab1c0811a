"""Somebody in front of a real browser, and what went wrong on the pages that they saw."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

from orchestrator_tools.browsers import browser_program
from orchestrator_tools.marketplace_page import page_packages

SECONDS: Final = 20
"""How long a page may take to show what is expected of it."""

AXE: Final = """async () => (await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
  "best-practice"]})).violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(" ")}`)
"""


class Visitor:
    """A page of a browser that keeps no cookie of anybody else.

    Attributes:
        page: The page.
        complaints: What the browser's console says is wrong, scripts that failed, dialogs that opened.
        strangers: Addresses of other hosts that the page asked for.
    """

    def __init__(self, page: Page, host: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self._hosts = {host}
        page.set_default_timeout(SECONDS * 1_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def knows(self, url: str) -> None:
        """Let pages ask a further host."""
        self._hosts.add(urlsplit(url).netloc)

    def accessibility(self) -> list[str]:
        """Return what axe objects to on the page as it is."""
        # the page's own policy lets no script in: the browser's debugger evaluates it
        self.page.evaluate((page_packages() / "axe-core" / "axe.min.js").read_text())
        found: list[str] = self.page.evaluate(AXE)
        return found

    def picture(self, file: Path, **clip: Any) -> None:
        """Keep what the page looks like."""
        self.page.screenshot(path=file, animations="disabled", **clip)

    def _console(self, said: ConsoleMessage) -> None:
        # an answer that is no success is for the page to tell, which tests look for
        if said.type == "error" and not said.text.startswith("Failed to load resource"):
            self.complaints.append(said.text)

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self._hosts:
            self.strangers.append(request.url)


@contextlib.contextmanager
def browser() -> Generator[Browser]:
    """Start a browser."""
    program = browser_program()
    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=program.path,
            env={**os.environ, **program.environment},
            # what runs the tests may be root, whose processes Chromium's sandbox does not take
            args=["--no-sandbox"],
        )
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def visiting(started: Browser, url: str, **options: Any) -> Generator[Visitor]:
    """Open a page for somebody new.

    Args:
        started: The browser.
        url: Of the site: its host is the one that pages may ask.
        options: As `Browser.new_context` takes them.
    """
    context = started.new_context(base_url=url, **options)
    try:
        yield Visitor(context.new_page(), urlsplit(url).netloc)
    finally:
        context.close()
