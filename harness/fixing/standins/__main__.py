"""A stand-in as a program: ``python -m harness.fixing.standins openai --answer quota --answer fix.json``."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.fixing.standins import gemini, openai

KNOWN = {"gemini": gemini, "openai": openai}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; prints how to point the fixer at it."""
    parser = argparse.ArgumentParser(prog="python -m harness.fixing.standins", description=__doc__)
    parser.add_argument("model", choices=sorted(KNOWN))
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    named = "; ".join(f"{name}: {', '.join(module.NAMED)}" for name, module in KNOWN.items())
    parser.add_argument("--answer", action="append", default=[], help=f"a JSON file with a reply, or one of {named}")
    options = parser.parse_args(arguments)
    spoken = KNOWN[options.model]
    answers = [
        spoken.NAMED[name]() if name in spoken.NAMED else spoken.answer(_read(parser, Path(name)))
        for name in options.answer
    ]
    with suppress(KeyboardInterrupt), spoken.running(answers, port=options.port) as server:
        print(spoken.settings(server.url), flush=True)
        threading.Event().wait()


def _read(parser: argparse.ArgumentParser, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        parser.error(f"{file}: {problem}")


if __name__ == "__main__":
    main()
