"""How long until the command line answers? ``python -m benchmarks.startup``; best of five, and what it imports.

Side by side with what a user would wait for otherwise: the command lines of Locust and MLflow.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("mlflow", "locust", "google", "pandas", "sqlalchemy", "pydantic", "rich")
BIN = Path(sys.executable).parent


def best_s(*command: str) -> float:
    """The fastest of five: what the machine's other work does not explain."""
    took = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run(command, capture_output=True, check=True)
        took.append(time.monotonic() - started)
    return min(took)


def main() -> None:
    own = best_s(str(BIN / "harness"), "--help")
    print(f"harness --help      {own:5.2f} s (wanted: at most 0.4)")
    print(f"harness validate    {best_s(str(BIN / 'harness'), 'validate'):5.2f} s")
    for name in ("locust", "mlflow"):
        other = best_s(str(BIN / name), "--help")
        print(f"{name} --help{' ' * (13 - len(name))}{other:5.2f} s, {other / own:.0f} times as long")
    code = f"import sys; from harness.cli import cli; print([m for m in {HEAVY} if m in sys.modules])"
    print("imported for --help:", subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
