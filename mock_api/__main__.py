"""Starts the server: ``python -m mock_api``."""

from __future__ import annotations

import os
import sys

from mock_api.settings import Settings


def main() -> None:
    """Becomes gunicorn, unless the environment is wrong."""
    try:
        Settings.from_environment()
    except ValueError as error:
        sys.exit(f"mock_api can't start with this environment:\n{error}")
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", "python:mock_api.server"])  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
