"""A tiny app with a trial of a few seconds, for tests that break the machine around it."""

# ruff: noqa: W293 - a patch has lines that are one blank
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

APP = """
import threading
import time

from flask import Flask

app = Flask(__name__)


@app.get("/health")
def health():
    return {"ok": True}


@app.get("/hello")
def hello():
    return {"hello": "world"}


def slow():
    time.sleep(3)


@app.post("/export")
def export():
    slow()
    return {"done": True}
"""
GUNICORN = """
import os

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = "gthread"
threads = 4
graceful_timeout = 1
"""
MANIFEST = {
    "name": "tiny",
    "source": ["*.py"],
    "editable": ["app.py"],
    "web": {"command": ["python", "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"]},
    "health": "/health",
}
CURE = """\
--- a/app.py
+++ b/app.py
@@ -19,7 +19,7 @@
 
 
 def slow():
-    time.sleep(3)
+    pass
 
 
 @app.post("/export")
"""
SCENARIO = {
    "metadata": {"name": "slow_export", "title": "Exports take every thread"},
    "target": {"app": "tiny"},
    "load": {
        "arrivals": {"rate": 20, "timeout": "3s"},
        "routes": [{"name": "hello", "weight": 1, "request": "GET /hello", "expect": {"contains": "world"}}],
    },
    "slos": [{"name": "hello-fast", "routes": ["hello"], "latency": {"p95Ms": 500}, "objective": 0.9}],
    "steadyState": {"warmup": "500ms", "hold": "1s"},
    "method": [{"action": "http", "request": "POST /export", "rate": 4}],
    "detection": {"gather": "500ms", "burnRate": {"factor": 3, "long": "2s", "short": "1s"}},
    "recovery": {"window": "500ms", "consecutive": 3, "minRequests": 4, "observe": "8s", "horizon": "8s"},
    "budget": {"attempts": 1, "fixer": "5s"},
    "reference": "cure.patch",
}


def make(folder: Path, **changes: object) -> Path:
    """The app and its scenario in ``folder``; ``changes`` replaces whole blocks. The scenario file."""
    app = folder / "tiny"
    app.mkdir(parents=True)
    (app / "app.py").write_text(APP.lstrip("\n"))
    (app / "gunicorn.conf.py").write_text(GUNICORN.lstrip("\n"))
    (app / "app.yml").write_text(yaml.safe_dump(MANIFEST))
    (folder / "cure.patch").write_text(CURE)
    file = folder / "slow_export.yml"
    file.write_text(yaml.safe_dump({**SCENARIO, **changes}))
    return file


def start(scenario: Path, results: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """``harness run`` as a process of its own; its last words go to a file beside the results."""
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--retriever", "none", "--json"]
    command += ["--results", str(results), *words]
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.Popen(
        command, cwd=ROOT, env={**keyless, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
