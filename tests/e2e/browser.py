"""What goes wrong in a page."""

from __future__ import annotations

from playwright.sync_api import Page


def watched(page: Page) -> list[str]:
    """What goes wrong in the page from now on: errors, and what the policy forbids."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("dialog"))
    return wrong
