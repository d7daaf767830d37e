"""However many come, each gets what they asked for."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

VISITORS = 8


@pytest.mark.before
@pytest.mark.during
@pytest.mark.after
def test_visitors_at_once_get_each_their_own() -> None:
    draw = random.Random(f"{os.environ['CHECK_SEED']}/{os.environ['CHECK_MOMENT']}")
    ids = draw.sample(range(1, 201), 5 * VISITORS)
    with (
        httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client,
        ThreadPoolExecutor(VISITORS) as pool,
    ):
        pages = list(pool.map(lambda product_id: client.get(f"/products/{product_id}"), ids))
        assert [page.status_code for page in pages] == [200] * len(ids)
        assert [page.json()["id"] for page in pages] == ids
        names = [page.json()["name"] for page in pages]
        found = pool.map(lambda name: client.get("/search", params={"q": name, "per_page": 100}), names)
        for product_id, answer in zip(ids, found, strict=True):
            assert product_id in [row["id"] for row in answer.json()["products"]]
