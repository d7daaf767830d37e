"""A plugin of pytest, loaded where hidden checks run: keeps the tests of one moment. Knows nothing of the harness."""

from __future__ import annotations

import os

import pytest

MOMENTS = ("before", "during", "after")


def pytest_configure(config: pytest.Config) -> None:
    for moment in MOMENTS:
        config.addinivalue_line("markers", f"{moment}: run {moment} the outage")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if os.environ["CHECK_MOMENT"] in _moments(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _moments(item: pytest.Item) -> set[str]:
    """Where nothing is said, after the outage."""
    return {mark.name for mark in item.iter_markers() if mark.name in MOMENTS} or {"after"}
