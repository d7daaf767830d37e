from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient


def test_pages_cover_every_product_once(client: FlaskClient) -> None:
    seen: list[int] = []
    number, more = 1, True
    while more:
        page = client.get(f"/products?per_page=70&page={number}").get_json()
        seen += [product["id"] for product in page["products"]]
        number, more = number + 1, page["has_more"]
    assert seen == list(range(1, 201))


def test_a_page_is_bounded(client: FlaskClient) -> None:
    assert len(client.get("/products").get_json()["products"]) == 20


@pytest.mark.parametrize("arguments", ["page=0", "page=-1", "page=x", "page=²", "per_page=101", f"page={10**30}"])
def test_bad_paging_is_refused(client: FlaskClient, arguments: str) -> None:
    answer = client.get(f"/products?{arguments}")
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "invalid_request"
    assert arguments.split("=")[0] in answer.get_json()["message"]


def test_one_product(client: FlaskClient) -> None:
    listed = client.get("/products?per_page=1").get_json()["products"][0]
    assert client.get(f"/products/{listed['id']}").get_json() == listed


@pytest.mark.parametrize("product_id", ["0", "201", str(2**31), "x"])
def test_an_unknown_product(client: FlaskClient, product_id: str) -> None:
    answer = client.get(f"/products/{product_id}")
    assert answer.status_code == 404
    assert answer.get_json()["error"] == "not_found"


def test_search_wants_all_words_and_knows_their_forms(client: FlaskClient) -> None:
    wanted = client.get("/products/17").get_json()
    _, material, thing = wanted["name"].split()
    found = client.get("/search", query_string={"q": f"{material} {thing}s", "per_page": 100}).get_json()["products"]
    assert wanted in found
    assert all(material in product["description"] and thing in product["description"] for product in found)


def test_search_for_nothing_there(client: FlaskClient) -> None:
    assert client.get("/search?q=zeppelin").get_json()["products"] == []


def test_pages_of_a_search_cover_every_match_once(client: FlaskClient) -> None:
    pages = [client.get(f"/search?q=made&per_page=90&page={number}").get_json() for number in (1, 2, 3, 4)]
    assert [len(page["products"]) for page in pages] == [90, 90, 20, 0]
    assert [page["has_more"] for page in pages] == [True, True, False, False]
    assert {product["id"] for page in pages for product in page["products"]} == set(range(1, 201))


def test_a_search_asked_again_takes_no_query_and_another_one_does(app: Flask) -> None:
    client = app.test_client()
    statements: list[str] = []
    sa.event.listen(app.extensions["engine"], "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for query in ("made+-oak", "made+-oak&page=2", "made+-cork"):
        statements.clear()
        assert client.get(f"/search?q={query}").get_json()["products"]
        counts.append(len(statements))
    assert counts == [1, 0, 1]


@pytest.mark.parametrize("query", ["", "   ", "x" * 101, "a\0b"])
def test_bad_searches_are_refused(client: FlaskClient, query: str) -> None:
    assert client.get("/search", query_string={"q": query}).status_code == 400


@pytest.mark.parametrize("query", ["'; DROP TABLE products; --", "& | !", '"open quote'])
def test_search_text_is_only_text(client: FlaskClient, query: str) -> None:
    assert client.get("/search", query_string={"q": query}).status_code == 200
