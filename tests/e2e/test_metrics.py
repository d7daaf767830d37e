"""Debian's own Prometheus scrapes the real shop and the real dashboard, and knows all that dashboards and rules ask."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness.loading import load_scenario
from harness.services.loopback import free_port
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.target.process import AppFiles, ProcessTarget
from harness.target.surroundings import Surroundings
from tests.e2e.test_dashboard import Dashboard, started

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DEADLINE_S = 90.0
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), "CI installs prometheus, see .ci/run"
        pytest.skip(f"no {name}: install it, as by apt-get install prometheus")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    url: str

    def asked(self, expression: str) -> list[Any]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10.0).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[Any] = answer["data"]["result"]
        return found

    def until(self, expression: str) -> list[Any]:
        deadline = time.monotonic() + DEADLINE_S
        while not (found := self.asked(expression)):
            assert time.monotonic() < deadline, f"no answer to {expression}"
            time.sleep(0.5)
        return found


@pytest.fixture(scope="module")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shop")
    loaded = load_scenario(ROOT / "scenarios" / "quiet_day.yml")
    with Supervisor() as supervisor, ExitStack() as stack:
        logs = folder / "logs"
        logs.mkdir()
        postgres = stack.enter_context(postgres_running(supervisor, data=folder / "pg", log=logs / "postgres.log"))
        surroundings = Surroundings(
            supervisor=supervisor, databases=lambda: postgres, redis_url=None, logs=logs, seed=1
        )
        files = AppFiles(folder=loaded.app, manifest=loaded.manifest, env=loaded.spec.target.env)
        target = ProcessTarget(files, supervisor=supervisor, surroundings=surroundings, logs=logs)
        yield stack.enter_context(target.running()).url


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with started(tmp_path_factory.mktemp("dashboard")) as made:
        made.record("trial-1")
        yield made


@pytest.fixture(scope="module")
def prometheus(shop_url: str, dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With the configuration that ships, but for addresses, the token and the pace."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        url = {"shop": shop_url, "harness": dashboard.url}[job["job_name"]]
        job["static_configs"][0]["targets"] = [url.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder)
    command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with Supervisor() as supervisor:
        supervisor.start("prometheus", command, env={}, cwd=folder, log=folder / "prometheus.log")
        made = Prometheus(url=f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                httpx.get(f"{made.url}/-/ready", timeout=5.0).raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
                time.sleep(0.2)
        yield made


def expressions() -> Iterator[tuple[str, str]]:
    """All that a dashboard asks, with where it stands."""
    for file in BOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']} {target['refId']}", target["expr"]


def test_the_rules_hold_what_their_tests_say() -> None:
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        command = [program("promtool"), *words]
        done = subprocess.run(command, cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_and_firing_as_well_as_not() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    told = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    cases = [case for test in told for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} >= alerts


def test_the_configuration_is_one() -> None:
    command = [program("promtool"), "check", "config", "--syntax-only", "prometheus.yml"]
    done = subprocess.run(command, cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# nothing fails in a healthy shop, so that no share of it can be told
UNANSWERED = {"shop.json: Share of requests that fail, and the budget A"}


def test_each_panel_has_an_answer_from_the_real_things(prometheus: Prometheus, shop_url: str) -> None:
    prometheus.until('up{job="shop"} == 1')
    prometheus.until('up{job="harness"} == 1')
    deadline = time.monotonic() + DEADLINE_S
    lacking = dict(expressions())
    while lacking.keys() - UNANSWERED and time.monotonic() < deadline:
        for _ in range(5):
            httpx.get(f"{shop_url}/products", timeout=10.0)
        httpx.get(f"{shop_url}/nowhere", timeout=10.0)
        lacking = {where: asked for where, asked in lacking.items() if not prometheus.asked(asked)}
        time.sleep(1.0)
    assert lacking.keys() <= UNANSWERED, lacking


def test_what_rules_ask_for_is_exported(prometheus: Prometheus) -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    asked = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    for name in set(re.findall(r"\b(?:shop|creamandonion)_\w+", asked)):
        prometheus.until(f"{{__name__={name!r}}}".replace("'", '"'))


def test_incidents_are_counted_where_prometheus_sees_them(prometheus: Prometheus, dashboard: Dashboard) -> None:
    prometheus.until('creamandonion_incidents{state="resolved",outcome="HEALED"} == 1')
    dashboard.record("trial-2")
    prometheus.until('creamandonion_incidents{state="resolved",outcome="HEALED"} == 2')
