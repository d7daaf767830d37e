"""Texts from outside, made to fit."""

from __future__ import annotations


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters; an ellipsis stands for what was left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
