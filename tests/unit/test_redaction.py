"""Secrets do not leave the machine; evidence does."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from harness.model.incident import Incident
from harness.redaction import MAX_LINE_CHARS, MAX_WORD_CHARS, redacted, redacted_incident, secrets_in

SHOP = Path(__file__).resolve().parents[2] / "target_app"
# in two parts each: those who look for secrets in this repository need not stop here
AWS, GOOGLE = "AKIA" + "4QZ7YH2LMN3PQRST", "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIEowIBAAKCAQEAqX7H9v0sVqA3Yd2mq9bZ3JmN1vQ2aaaa\n"
    "q9bZ3JmN1vQ2\n"
    "-----END RSA PRIVATE KEY-----"
)
SECRETS = [  # what is logged, and what of it may leave
    (f"denied for {AWS} in eu-1", "denied for [redacted: aws access key id] in eu-1"),
    (
        "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz9ab3Qe71 x",
        "aws_secret_access_key=[redacted: aws secret access key] x",
    ),
    (
        "{'Authorization': 'Bearer 9f8s7df9ASDf87asdf987asdfHJGa8s7df'}",
        "{'Authorization': 'Bearer [redacted: bearer token]'}",
    ),
    (
        "Authorization: Basic dXNlcjpwYXNzd29yZDEyMw== sent",
        "Authorization: Basic [redacted: authorization credential] sent",
    ),
    (f"token {JWT} expired", "token [redacted: jwt] expired"),
    (f"key {GOOGLE} rejected", "key [redacted: google api key] rejected"),
    (f"remote: {GITHUB}", "remote: [redacted: github token]"),
    (json.dumps({"message": f"bad {PEM} end"}), '{"message": "bad [redacted: private key] end"}'),
    (f"bad {PEM[:70]}", "bad [redacted: private key]\n[redacted: private key]"),
    (
        "OperationalError: postgresql+psycopg://shop:s3cr3tPassw0rd@db:5432/app",
        "OperationalError: postgresql+psycopg://shop:[redacted: connection string password]@db:5432/app",
    ),
    (
        "redis://:hunter2hunter2@cache:6379/0 refused",
        "redis://:[redacted: connection string password]@cache:6379/0 refused",
    ),
    (
        "host=db user=app password='p4ss w0rd' dbname=x",
        "host=db user=app password='[redacted: contextual secret]' dbname=x",
    ),
    ("PAYMENTS_TOKEN=Zk3vQ9xT1LmN8pR2sW5yBg up", "PAYMENTS_TOKEN=[redacted: contextual secret] up"),
    ('{"user":"a","password":"correct horse battery"}', '{"user":"a","password":"[redacted: contextual secret]"}'),
    ("Cookie: session=eyJ1c2VyX2lkIjoxfQ.Zx8a1g.9f8s7df9ASDf87asdf987; lang=de 200", "Cookie: [redacted: cookie] 200"),
    ("session=eyJ1c2VyX2lkIjoxfQ.Zx8a1g.9f8s7df9ASDf87asdf987 ok", "session=[redacted: cookie] ok"),
    ("GET /reset?token=abcdef1234567890abcdef&page=1 200", "GET /reset?token=[redacted: token]&page=1 200"),
    ("row: scrypt:32768:8:1$k3jH2lPq$0f1e2d3c4b5a6978 end", "row: [redacted: password hash] end"),
    ("no user jane.doe@example.com here", "no user [redacted: mail address] here"),
    ("declined 4111 1111 1111 1111 for order", "declined [redacted: card number] for order"),
    (
        "POST https://hooks.slack.com/services/T0ABC/B0ABC/XyZ12345 404",
        "POST https://hooks.slack.com/services/[redacted: webhook] 404",
    ),
]
EVIDENCE = [
    "FAULT_DB_TIMEOUT (sqlalchemy.exc.TimeoutError) QueuePool limit of size 8 overflow 0 reached, timeout 4.00",
    "GET /orders/550e8400-e29b-41d4-a716-446655440000 idempotency_key=0d7f1b9e-2f7a-4a44-9f6d-0b3c0c7f5c11",
    "released 3b05e46c9d0f1e2a3b4c5d6e7f8091a2b3c4d5e6, trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
    'File "/srv/app/shop/payments.py", line 87, in _request\n    return self._send(client.build_request(m, path))',
    'psycopg.errors.SyntaxError: syntax error at or near "FROM" SQLSTATE 42601 LINE 1: SELECT id, FROM products',
    'duplicate key value violates "orders_idempotency_key" DETAIL: Key (idempotency_key)=(abc) already exists.',
    "KeyError: 'password' in request.json; token expired; cache_key=products:page:3",
    "password_hash = passwords.hash(password); token = session_token(user)",
    'FATAL: password authentication failed for user "shop"; postgresql://shop@127.0.0.1:5432/app_9f1c2d3e',
    "ts=1762336800123 took 4001 ms, 1234567890123456 ns, order 4111111111111112, p95 200 300 400 500",
    "(Background on this error at: https://sqlalche.me/e/20/3o7r)",
    "sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 mapped at 0x7f3c2a1b4d50",
]


@pytest.mark.parametrize(("line", "clean"), SECRETS)
def test_a_secret_is_taken_out_and_the_rest_of_its_line_is_kept(line: str, clean: str) -> None:
    assert redacted(line) == clean
    assert redacted(clean) == clean


@pytest.mark.parametrize("line", EVIDENCE)
def test_evidence_stays(line: str) -> None:
    assert redacted(line) == line


def test_log_lines_of_the_shop_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHOP))
    from flask import Flask, g

    from shop.logs import JsonLines, Marker

    lines, exhausted = [], QueuePool(lambda: sqlite3.connect(":memory:"), pool_size=1, max_overflow=0, timeout=0)
    held = exhausted.connect()
    app, shown = Flask("shop"), JsonLines()
    app.add_url_rule("/orders/<uuid:order_id>", "order", lambda order_id: "")
    with app.test_request_context("/orders/550e8400-e29b-41d4-a716-446655440000"):
        for request_id in ("9f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e", "550e8400-e29b-41d4-a716-446655440000", "req-1"):
            g.request_id = request_id
            try:
                exhausted.connect()
            except PoolTimeout:
                error = sys.exc_info()
            for message in (*Marker, "request", "INSERT INTO orders (id, total_cents) VALUES (%(id)s, %(total)s)"):
                record = logging.LogRecord("shop.errors", logging.ERROR, "x", 1, str(message), (), error)
                record.__dict__.update(marker=str(message), status=500, duration_ms=3004.2, job="receipt:17", attempt=2)
                lines.append(shown.format(record))
    held.close()
    exhausted.dispose()
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    assert len(lines) == 15 and "Traceback" in lines[0] and Marker.SQL in lines[0]
    assert redacted("\n".join(lines)).split("\n") == lines


def test_what_is_known_to_be_secret_is_taken_out_however_it_is_spelt() -> None:
    secret = 'for "trials" & more'
    said = f"{secret} | {json.dumps(secret)} | ?x=for%20%22trials%22%20%26%20more | for+%22trials%22+%26+more"
    mark = "[redacted: known secret]"
    assert redacted(said, [secret]) == f'{mark} | "{mark}" | ?x={mark} | {mark}'
    assert redacted("the app is up", ["app", ""]) == "the app is up", "what is too short to be told from a word"


def test_secrets_of_an_environment_are_its_keys_tokens_and_passwords() -> None:
    environment = {
        "GEMINI_API_KEY": "AIza-something",
        "SECRET_KEY": "for-trials-only",
        "API_ADMIN_TOKEN": "0123456789",
        "DATABASE_URL": "postgresql://shop:pass%20word@127.0.0.1/app",
        "BROKEN_URL": "http://[half",
        "KEYBOARD": "de-latin1-nodeadkeys",
        "SHORT_KEY": "x",
        "PATH": "/usr/bin:/bin",
    }
    assert secrets_in(environment) == {"AIza-something", "for-trials-only", "0123456789", "pass%20word"}


def test_an_incident_keeps_its_shape() -> None:
    incident = Incident(
        id="inc-1",
        error_code="FAULT_DB_TIMEOUT",
        symptoms="the app logs password=Tr0ub4dor3x",
        breadcrumbs=("signal: postgresql://a:hunter2hunter2@db/x", "route browse: 3 failed"),
        logs=("first", *PEM.split("\n"), "an entry\nof two lines with topsecretvalue", "last"),
        window=None,
        detected_at="2026-11-05T10:00:00Z",
    )
    clean = redacted_incident(incident, ["topsecretvalue"])
    mark = "[redacted: private key]"
    assert clean.logs == (
        "first",
        mark,
        mark,
        mark,
        mark,
        "an entry\nof two lines with [redacted: known secret]",
        "last",
    )
    assert "Tr0ub4dor3x" not in clean.symptoms and "hunter2" not in clean.breadcrumbs[0]
    assert (clean.id, clean.error_code, clean.breadcrumbs[1]) == ("inc-1", "FAULT_DB_TIMEOUT", "route browse: 3 failed")


# hostile text


def test_a_line_of_10_mb_is_cut_and_nothing_after_the_cut_leaves() -> None:
    line = "start " + "word " * 2_000_000 + AWS
    clean = redacted(line)
    assert clean.startswith("start word") and len(clean) < MAX_LINE_CHARS + 100
    assert clean.endswith(f"[cut: {len(line) - clean.index(' [cut')} characters]")


@pytest.mark.parametrize("back", range(1, 24))
def test_a_cut_halves_no_secret(back: int) -> None:
    line = "x " * ((MAX_LINE_CHARS - back) // 2) + AWS + " and more"
    assert AWS[:5] not in redacted(line)


def test_a_word_without_an_end_is_taken_out() -> None:
    assert redacted(f"a {'eyJ' * MAX_WORD_CHARS} b") == f"a [redacted: word of {3 * MAX_WORD_CHARS} characters] b"
    assert redacted(f"a {'y' * MAX_WORD_CHARS} b") == f"a {'y' * MAX_WORD_CHARS} b"


def test_what_is_no_unicode_is_no_obstacle() -> None:
    assert redacted("a \ud800 b\0 password=Tr0ub4dor3x") == "a ? b\0 password=[redacted: contextual secret]"
    assert redacted("") == ""


HOSTILE: list[Callable[[int], str]] = [
    lambda n: "key" + " " * n,
    lambda n: "eyJ" * n,
    lambda n: f"{'eyJ' * 600} " * (n // 600),
    lambda n: "password=" * n,
    lambda n: "mongodb://user:" + "a" * n,
    lambda n: "a@a." * n,
    lambda n: "a.a@" * n,
    lambda n: "4111 " * n,
    lambda n: "-----BEGIN PRIVATE KEY-----" * n,
    lambda n: "-----BEGIN PRIVATE KEY-----" + "ab\\n" * n,
    lambda n: "cookie: a=" * n,
    lambda n: "cookie: " + "a=b; " * n,
    lambda n: "?token=" * n,
    lambda n: "?" + "a" * n,
    lambda n: "scrypt:1:" * n,
    lambda n: "api_key: '" * n,
    lambda n: "\n" * n,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_time_grows_in_line_with_the_text(text: Callable[[int], str]) -> None:
    """Eight times the text takes about eight times as long, where a square would take 64 times."""

    def seconds(size: int) -> float:
        taken = []
        for _ in range(3):
            began = time.process_time()
            redacted(text(size))
            taken.append(time.process_time() - began)
        return min(taken)

    assert seconds(32_000) < 25 * max(seconds(4_000), 0.002)
