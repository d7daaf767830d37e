"""The product list again tells what each product's own page tells."""

from __future__ import annotations

import os
import random

import httpx


def test_the_list_ends_where_the_products_end() -> None:
    draw = random.Random(int(os.environ["CHECK_SEED"]) + 2)
    size = draw.randint(15, 90)
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        ids: list[int] = []
        for page in range(1, 50):
            answer = client.get("/products", params={"page": page, "per_page": size})
            assert answer.status_code == 200, answer.text
            ids += [row["id"] for row in answer.json()["products"]]
            if not answer.json()["has_more"]:
                break
        assert ids == sorted(ids)
        assert len(ids) == len(set(ids)) == 200
