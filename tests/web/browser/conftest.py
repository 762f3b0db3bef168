"""One Chromium and its tabs, in which nothing is asked of another host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from axilla.web.served import Served

FLAGS = [
    # Whatever is asked of another host is refused before it is asked.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """One Chromium for all tests of a file; Playwright's loop would be in the way of others."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Tab:
    """A page in the browser, and whatever it asked for or complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """What a test brings about itself; the browser may still tell of it after the test's end."""

    def visit(self, address: str) -> Page:
        """Open an address and wait until the page has got its data."""
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        return self.page


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Open a tab; at the end nothing may have been asked of another host, nor complained of."""
    opened: list[Tab] = []

    def make(**settings: Any) -> Tab:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
        context.set_default_timeout(30_000)
        tab = Tab(context.new_page())
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.on(
            "console",
            lambda said: tab.complaints.append(said.text) if said.type == "error" else None,
        )
        opened.append(tab)
        return tab

    yield make
    for tab in opened:
        hosts = {urlsplit(url).hostname for url in tab.requests}
        tab.page.context.close()
        assert hosts <= {"127.0.0.1"}
        assert [c for c in tab.complaints if not any(e in c for e in tab.expected)] == []


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """A tab of 1280 pixels' width, in light colours."""
    return open_tab(color_scheme="light")


@pytest.fixture(scope="session")
def shown_patient() -> Callable[[Served], int]:
    """Find the place of a test patient, whose slide was measured."""

    def find(served: Served) -> int:
        endpoint = served.endpoints[0]
        where = endpoint.partitions[0].cohort_of
        return next(
            i for i, p in enumerate(endpoint.cohort.patients) if where[p.patient_id] == "test"
        )

    return find
