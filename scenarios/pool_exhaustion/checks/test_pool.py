"""Reads get their connection while blocking queries keep coming."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

import httpx


def test_reads_do_not_wait_for_blocked_ones() -> None:
    draw = random.Random(int(os.environ["CHECK_SEED"]))
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        with ThreadPoolExecutor(20) as pool:
            blocked = [pool.submit(client.post, "/test-fault/db-timeout") for _ in range(2)]
            ids = [draw.randint(1, 200) for _ in range(60)]
            answers = list(pool.map(lambda product_id: client.get(f"/products/{product_id}"), ids))
        assert [answer.json()["id"] for answer in answers] == ids
        assert all(one.result().status_code in (200, 503, 504) for one in blocked)
