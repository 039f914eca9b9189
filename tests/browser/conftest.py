"""One browser and one server of the book for all browser tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from looking import FLAGS, serve


@pytest.fixture(scope="session")
def browser(chromium) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(html) -> Iterator[str]:
    server, address = serve(html)
    yield address
    server.shutdown()
