"""Each route answers after the fix as it did before the outage: status, shape, stable content, and about as quickly."""

from __future__ import annotations

import random
import re
import statistics
import time

import httpx
import pytest
from answers import PARTS, ROUTES, ask
from conftest import Customer, Memory

SAMPLE = 15
ALLOWED_TIMES, ALLOWED_S = 3.0, 0.1  # noise of a shared machine is far less, a route that got slow far more
QUIET = ("/me", "/orders", "/reports/daily", "/health/ready", "/metrics")  # without load, so nobody else times them


@pytest.mark.before
@pytest.mark.after
@pytest.mark.parametrize("route", ROUTES)
def test_answers_stay_what_they_were(
    route: str, moment: str, memory: Memory, draw: random.Random, visitor: httpx.Client, customer: Customer
) -> None:
    name = f"answers {route}"
    if moment == "before":
        memory.keep(name, [(one, ask(client_of(one, visitor, customer), one)) for one in ROUTES[route](draw)])
        return
    kept = memory.kept(name)
    draw.shuffle(kept)
    wrong = []
    for question, earlier in kept:
        now = ask(client_of(question, visitor, customer), question)
        wrong += [
            f"{question['method']} {question['path']}: {part} was {earlier.get(part)}, is {now.get(part)}"[:400]
            for part in PARTS
            if earlier.get(part) != now.get(part)
        ]
    assert not wrong, f"{len(wrong)} differ: {wrong[0]}"


def client_of(question: dict[str, object], visitor: httpx.Client, customer: Customer) -> httpx.Client:
    user = question.get("user")
    return customer(user) if isinstance(user, int) else visitor


@pytest.mark.before
@pytest.mark.after
def test_routes_without_load_are_as_quick_as_before(moment: str, memory: Memory, somebody: httpx.Client) -> None:
    took_s = {path: statistics.median(timed(somebody, path) for _ in range(SAMPLE)) for path in QUIET}
    if moment == "before":
        memory.keep("medians", took_s)
        return
    for path, earlier_s in memory.kept("medians").items():
        assert took_s[path] <= ALLOWED_TIMES * earlier_s + ALLOWED_S, (
            f"{path}: median {took_s[path] * 1000:.0f} ms, {earlier_s * 1000:.0f} ms before the outage"
        )


def timed(client: httpx.Client, path: str) -> float:
    started_s = time.monotonic()
    answer = client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:200]}"
    return time.monotonic() - started_s


@pytest.mark.before
@pytest.mark.after
def test_metrics_have_their_names_and_count(moment: str, memory: Memory, somebody: httpx.Client) -> None:
    path, requests = "/reports/daily", 5
    first = somebody.get("/metrics").text
    for _ in range(requests):
        assert somebody.get(path).status_code == 200
    second = somebody.get("/metrics").text
    assert counted(second, path) >= counted(first, path) + requests, f"{requests} requests to {path} were not counted"
    names = sorted(set(re.findall(r"^# TYPE (\S+)", second, re.MULTILINE)))
    if moment == "before":
        memory.keep("metrics", names)
        return
    gone = set(memory.kept("metrics")) - set(names)
    assert not gone, f"metrics are gone: {sorted(gone)}"


def counted(metrics: str, path: str) -> float:
    """All counts of requests to a path, whatever the other labels are."""
    found = re.findall(rf"^\w+_(?:count|total)\{{[^}}]*{re.escape(path)}\"[^}}]*\}} (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))
