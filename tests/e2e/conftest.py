"""A real browser, for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

_DEADLINE_MS = 60_000


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        assert not os.environ.get("CI"), "CI installs chromium, see .ci/run"
        pytest.skip("no Chromium: install it, as by apt-get install chromium")
    return found


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(_DEADLINE_MS)
        yield page
        browser.close()
