"""The built assets by their plain names: what was built last stands in ``static/manifest.json``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from flask import url_for

STATIC = Path(__file__).with_name("static")


def asset_url(name: str) -> str:
    """Of ``app.css``, say, with the fingerprint of its content in it, so that a browser may keep it for ever."""
    return url_for("static", filename=_built()[name])


@cache
def _built() -> dict[str, str]:
    return dict(json.loads((STATIC / "manifest.json").read_bytes()))
