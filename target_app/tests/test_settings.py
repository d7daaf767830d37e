from __future__ import annotations

import pytest

from shop import create_app
from shop.settings import Settings, SettingsError


def test_the_environment_is_read_and_an_empty_value_is_none() -> None:
    settings = Settings.from_env(
        {
            "DB_POOL_SIZE": "7",
            "REDIS_URL": "",
            "ENABLE_FAULT_INJECTION": "true",
            "PAYMENTS_URL": "http://pay/",
            "X": "y",
        }
    )
    assert (settings.db_pool_size, settings.redis_url, settings.enable_fault_injection) == (7, None, True)
    assert settings.payments_url == "http://pay"
    assert settings.upstream_retries == 3


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_the_database_means_psycopg(scheme: str) -> None:
    url = Settings.from_env({"DATABASE_URL": f"{scheme}://u:p@h:1/d"}).database_url
    assert url == "postgresql+psycopg://u:p@h:1/d"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_POOL_SIZE", "three"),
        ("DB_POOL_SIZE", "0"),
        ("DB_STATEMENT_TIMEOUT_MS", "-1"),
        ("UPSTREAM_TIMEOUT_S", "0"),
        ("DATABASE_URL", "mysql://h/d"),
        ("PAYMENTS_URL", "pay:80"),
        ("LOG_LEVEL", "LOUD"),
        ("ENABLE_FAULT_INJECTION", "maybe"),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: value})


def test_the_app_wants_a_secret_key() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        create_app(Settings.from_env({}))


def test_the_secret_key_is_not_shown() -> None:
    assert "hush" not in repr(Settings.from_env({"SECRET_KEY": "hush"}))
