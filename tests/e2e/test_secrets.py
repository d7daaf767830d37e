"""No key is in anything that a run has written or shown: a trial with a model, MLflow, alerts and a live page."""

from __future__ import annotations

import base64
import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from harness.cli.demo import MODELS, canned
from harness.fixing.standins import gemini
from harness.loading import load_scenario
from tests.e2e import tiny
from tests.e2e.test_dashboard import LIST, started


def shapes(secret: str) -> set[bytes]:
    """How it may be written."""
    plain = secret.encode()
    return {plain, base64.b64encode(plain).rstrip(b"="), quote(secret, safe="").encode(), plain.hex().encode()}


@pytest.fixture
def slack() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a webhook, whose path is the secret, and what was sent there."""
    bodies: list[bytes] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/services", bodies
        server.shutdown()


def test_no_key_is_in_what_a_full_run_writes_or_shows(tmp_path: Path, slack: tuple[str, list[bytes]]) -> None:
    names = ("gemini", "openai", "slack", "dashboard", "session", "delivery", "agent")
    held = {name: f"{name}-{secrets.token_urlsafe(24)}" for name in names}
    scenario, results = tiny.make(tmp_path / "s"), tmp_path / "results"
    webhook, bodies = slack
    pages: list[str] = []
    with started(tmp_path, DASHBOARD_TOKEN=held["dashboard"], SECRET_KEY=held["session"]) as dashboard:
        with gemini.running([gemini.answer(canned(load_scenario(scenario)))]) as model:
            env = {
                **MODELS["gemini"].variables(model.url),
                "GEMINI_API_KEY": held["gemini"],
                "OPENAI_API_KEY": held["openai"],
                "SLACK_WEBHOOK_URL": f"{webhook}/{held['slack']}",
                "DELIVERY_TOKEN": held["delivery"],
                "FIXER_ENV": "AGENT_KEY",
                "AGENT_KEY": held["agent"],
            }
            trial = tiny.start(scenario, results, "--fixer", "gemini", "--alert", **env)
            out, err = trial.communicate(timeout=200)
            assert '"HEALED"' in out, err
            assert model.requests, "the model was asked, and takes no request without a key"
        with httpx.Client(base_url=dashboard.url, follow_redirects=True, headers={"Accept": "text/html"}) as browser:
            form = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(LIST).text)
            assert form
            sent = {"csrf_token": form[1], "token": held["dashboard"], "next": LIST}
            pages.append(browser.post("/login", data=sent).text)
            found = re.search(rf'href="({LIST}/[^"]+)"', pages[0])
            assert found
            pages += [browser.get(path).text for path in (found[1], "/metrics", "/health/ready")]
    assert bodies, "people were told"
    places = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and scenario not in path.parents
    }
    seen = {str(path.relative_to(tmp_path)): text for path, text in places.items()}
    seen |= {"standard output": out.encode(), "standard error": err.encode()}
    seen |= {f"page {number}": page.encode() for number, page in enumerate(pages)}
    seen |= {f"alert {number}": body for number, body in enumerate(bodies)}
    assert {"prompt-1.md", "fix.md.jinja", "verdict.json", "events.jsonl", "mlflow.db"} <= {
        Path(name).name for name in seen
    }
    leaks = [
        (name, of) for name, text in seen.items() for of, key in held.items() if any(s in text for s in shapes(key))
    ]
    assert leaks == []
