from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient


def test_signing_in_and_out(client: FlaskClient) -> None:
    assert client.get("/me").status_code == 401
    answer = client.post("/login", json={"email": "user7@shop.test", "password": "correct horse"})
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert client.get("/me").get_json() == answer.get_json()
    assert "hash" not in client.get("/me").text
    assert client.post("/logout").status_code == 204
    assert client.get("/me").status_code == 401


@pytest.mark.parametrize(
    "credentials",
    [
        {"email": "user7@shop.test", "password": "wrong"},
        {"email": "nobody@shop.test", "password": "correct horse"},
        {"email": "nobody@shop.test", "password": "nobody"},
    ],
)
def test_wrong_credentials_all_look_the_same(client: FlaskClient, credentials: dict[str, str]) -> None:
    answer = client.post("/login", json=credentials)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "wrong_credentials")


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"email": "a\\u0000b@c", "password": "x"}'])
def test_a_body_that_cannot_be_used(client: FlaskClient, body: str) -> None:
    answer = client.post("/login", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert set(answer.get_json()) == {"error", "message"}


def test_a_form_is_not_accepted(client: FlaskClient) -> None:
    assert client.post("/login", data={"email": "user7@shop.test"}).status_code == 415


def test_a_forged_cookie_is_nobody(app: Flask) -> None:
    client = app.test_client()
    client.set_cookie("session", "eyJ1c2VyX2lkIjoxfQ.aaaaaa.forged")
    assert client.get("/orders").status_code == 401
