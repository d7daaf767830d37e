"""Reads get their connection while more blocking queries come than any pool could hold."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

BLOCKING = 12  # beside those of the fault itself: 35 in the 5 s that one takes, and the database grants 20 connections
APART_S, READS_BETWEEN = 0.5, 3
READS_AFTERWARDS = 20
SOON_S = 2.5  # five times what users are promised


def test_reads_do_not_wait_for_blocked_ones() -> None:
    draw = random.Random(int(os.environ["CHECK_SEED"]))
    with (
        httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client,
        ThreadPoolExecutor(BLOCKING) as pool,
    ):
        blocked, wrong = [], []
        for _ in range(BLOCKING):
            blocked.append(pool.submit(client.post, "/test-fault/db-timeout"))
            for _ in range(READS_BETWEEN):
                time.sleep(APART_S / READS_BETWEEN)
                wrong += trouble(client, draw.randint(1, 200))
            assert len(wrong) <= READS_BETWEEN, f"{len(wrong)} reads beside {len(blocked)} blocked ones: {wrong[-1]}"
        answers = {one.result().status_code for one in blocked}
        assert answers <= {200, 503, 504}, f"the blocked ones were answered {sorted(answers)}"
        late = [what for _ in range(READS_AFTERWARDS) for what in trouble(client, draw.randint(1, 200))]
        assert len(late) <= 1, f"{len(late)} of {READS_AFTERWARDS} reads once all blocked ones were answered: {late[0]}"


def trouble(client: httpx.Client, product_id: int) -> list[str]:
    """What was wrong with reading a product; nothing, where nothing was."""
    started_s = time.monotonic()
    answer = client.get(f"/products/{product_id}")
    took_s = time.monotonic() - started_s
    if answer.status_code != httpx.codes.OK or answer.json()["id"] != product_id:
        return [f"{answer.status_code} {answer.text[:100]}"]
    return [f"took {took_s:.1f} s"] if took_s > SOON_S else []
