"""Visitors who look like anybody: no two of them by the same browser, and each request on a connection of its own."""

from __future__ import annotations

import os
import random
import ssl
from ipaddress import IPv4Address

import httpx

URL = os.environ["CHECK_URL"]
PASSWORD = "correct horse"
USERS = range(1, 21)
PRODUCTS = range(1, 201)

_SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "iPhone; CPU iPhone OS 17_5 like Mac OS X",
    "Linux; Android 14; Pixel 8",
)
_ENGINES = (
    "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{} Safari/605.1.15",
    "Gecko/20100101 Firefox/{}.0",
)
_ACCEPTS = ("*/*", "application/json", "application/json, text/plain, */*", "text/html,application/xhtml+xml,*/*;q=0.8")
_LANGUAGES = ("en-GB,en;q=0.9", "de-DE,de;q=0.8,en;q=0.5", "fr", "pt-BR,pt;q=0.9", "ja,en-US;q=0.7")
_LIMITS = httpx.Limits(max_keepalive_connections=0)
_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: loading certificates for each visitor takes longer


def browser(draw: random.Random, *, timeout_s: float = 15.0) -> httpx.Client:
    """A client with headers and an address of its own. Whoever gets one closes it."""
    headers = {
        "User-Agent": f"Mozilla/5.0 ({draw.choice(_SYSTEMS)}) {draw.choice(_ENGINES).format(draw.randint(100, 140))}",
        "Accept": draw.choice(_ACCEPTS),
        "Accept-Language": draw.choice(_LANGUAGES),
    }
    if draw.random() < 0.5:
        headers["Referer"] = f"{URL}/products?page={draw.randint(1, 10)}"
    transport = httpx.HTTPTransport(verify=_PLAIN, limits=_LIMITS, local_address=_address(draw))
    return httpx.Client(base_url=URL, timeout=timeout_s, transport=transport, headers=headers, trust_env=False)


def _address(draw: random.Random) -> str | None:
    """All of 127.0.0.0/8 is this machine, where the app is on it: an address tells nobody from anybody."""
    loopback = httpx.URL(URL).host == "127.0.0.1"
    return str(IPv4Address(f"127.{draw.randint(1, 250)}.0.0") + draw.randint(1, 250)) if loopback else None


def email(user: int) -> str:
    return f"user{user}@shop.test"


def log_in(client: httpx.Client, user: int) -> None:
    answer = client.post("/login", json={"email": email(user), "password": PASSWORD})
    assert answer.status_code == 200, f"user {user} cannot log in: {answer.status_code} {answer.text[:200]}"
