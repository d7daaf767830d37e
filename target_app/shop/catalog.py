"""The products: a list, one, and a full-text search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from flask import Blueprint, current_app
from flask.blueprints import BlueprintSetupState
from sqlalchemy import func, select

from shop import inputs
from shop.db import session
from shop.errors import ApiError
from shop.models import Product
from shop.recent import Recent

blueprint = Blueprint("catalog", __name__)

SEARCHES = 32  # of about 200 kB each
SEARCH_FRESH_S = 5.0
MAX_MATCHES = 1000

Searches = Recent[str, Sequence[Product]]


def as_json(product: Product) -> dict[str, object]:
    return {
        "id": product.id,
        "name": product.name,
        "description": product.description,
        "price_cents": product.price_cents,
        "stock": product.stock,
    }


@blueprint.get("/products")
def products() -> dict[str, object]:
    page = inputs.page()
    rows = session().scalars(select(Product).order_by(Product.id).offset(page.offset).limit(page.peek))
    return page.answer("products", [as_json(product) for product in rows])


@blueprint.get(f"/products/<int(max={inputs.MAX_ID}):product_id>")
def product(product_id: int) -> dict[str, object]:
    found = session().get(Product, product_id)
    if found is None:
        raise ApiError(404, "not_found", f"there is no product {product_id}")
    return as_json(found)


@blueprint.get("/search")
def search() -> dict[str, object]:
    """The products with all words of ``q``, the best match first, as they were at most SEARCH_FRESH_S ago."""
    words = inputs.text_argument("q", max_length=100)
    page = inputs.page()
    found = cast(Searches, current_app.extensions["searches"]).get(words, lambda: _matches(words))
    return page.answer("products", [as_json(product) for product in found[page.offset : page.offset + page.peek]])


def _matches(words: str) -> Sequence[Product]:
    """All of them, so that turning the page asks the database nothing."""
    query = func.websearch_to_tsquery("english", words)
    return (
        session()
        .scalars(
            select(Product)
            .where(Product.search.bool_op("@@")(query))
            .order_by(func.ts_rank(Product.search, query).desc(), Product.id)
            .limit(MAX_MATCHES)
        )
        .all()
    )


@blueprint.record
def _remember_searches(state: BlueprintSetupState) -> None:
    state.app.extensions["searches"] = Searches(size=SEARCHES, fresh_s=SEARCH_FRESH_S)
