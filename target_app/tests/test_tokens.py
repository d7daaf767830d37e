from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from conftest import eventually
from flask.testing import FlaskClient
from provider import Provider

from shop.payments import PaymentForbidden, Payments, PaymentUnavailable, Reason
from shop.resilience import State
from shop.settings import Settings


@pytest.fixture
def payments(settings: Settings) -> Iterator[Payments]:
    made = Payments(settings, retries=0)
    yield made
    made.close()


def charge(payments: Payments, order_id: UUID | None = None) -> str:
    return payments.charge(order_id or uuid4(), 100).charge_id


def test_one_token_is_good_for_many_charges(payments: Payments, provider: Provider) -> None:
    for _ in range(5):
        charge(payments)
    assert (len(provider.tokens), provider.charges.total()) == (1, 5)


def test_threads_that_need_the_first_token_share_it(payments: Payments, provider: Provider) -> None:
    start = threading.Barrier(8)

    def charged() -> str:
        start.wait()
        return charge(payments)

    with ThreadPoolExecutor(8) as pool:
        assert len({future.result() for future in [pool.submit(charged) for _ in range(8)]}) == 8
    assert len(provider.tokens) == 1


def test_a_token_is_renewed_before_it_ends(payments: Payments, provider: Provider) -> None:
    provider.token_life_s = 0.5
    charge(payments)
    provider.token_life_s = 3600
    eventually(lambda: charge(payments) and len(provider.tokens) == 2, "most of the first token's life is over")
    charge(payments)
    assert len(provider.tokens) == 2
    assert not provider.unauthorized


def test_a_token_that_was_revoked_is_replaced_without_a_failure(payments: Payments, provider: Provider) -> None:
    charge(payments)
    provider.refused.update(provider.tokens)
    order_id = uuid4()
    assert charge(payments, order_id) == f"ch_{order_id}"
    assert (len(provider.tokens), provider.unauthorized, provider.charges[str(order_id)]) == (2, 1, 1)


def test_threads_whose_token_was_revoked_share_the_next_one(payments: Payments, provider: Provider) -> None:
    charge(payments)
    provider.refused.update(provider.tokens)
    with ThreadPoolExecutor(8) as pool:
        assert len({future.result() for future in [pool.submit(charge, payments) for _ in range(8)]}) == 8
    assert len(provider.tokens) == 2


def test_who_is_refused_with_a_new_token_too_gives_up(payments: Payments, provider: Provider) -> None:
    bad = [f"bad-{number}" for number in range(5)]
    provider.token_answers = [(200, {"access_token": token, "expires_in": 60}, {}) for token in bad]
    provider.refused.update(bad)
    for fetched in (2, 3, 4, 5):  # the first has none yet, and each replaces the one that is refused, once
        with pytest.raises(PaymentForbidden):
            charge(payments)
        assert len(provider.tokens) == fetched
    assert payments.breaker.state() is State.CLOSED, "it answers, and does not know us: no outage"
    assert not provider.charges


def test_credentials_that_are_refused_are_no_outage(payments: Payments, provider: Provider) -> None:
    provider.token_answers = [(401, {"error": "invalid_client"}, {})] * 4
    for _ in range(4):
        with pytest.raises(PaymentForbidden):
            charge(payments)
    assert payments.breaker.state() is State.CLOSED
    assert charge(payments)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, {}, Reason.FAILED),
        (503, {}, Reason.OVERLOADED),
        (200, {"token": "x"}, Reason.FAILED),
        (200, {"access_token": "x", "expires_in": 0}, Reason.FAILED),
        (200, [], Reason.FAILED),
    ],
)
def test_no_token_no_charge(payments: Payments, provider: Provider, status: int, body: object, reason: Reason) -> None:
    provider.token_answers = [(status, body, {})]
    with pytest.raises(PaymentUnavailable) as caught:
        charge(payments)
    assert caught.value.reason is reason
    assert not provider.charges
    assert charge(payments)


def test_a_token_that_does_not_come_is_a_timeout_for_all_who_wait(settings: Settings, provider: Provider) -> None:
    payments = Payments(settings.model_copy(update={"upstream_timeout_s": 0.3, "breaker_failures": 9}), retries=0)
    provider.hold_tokens()
    with ThreadPoolExecutor(4) as pool:
        failed = [future.exception() for future in [pool.submit(charge, payments) for _ in range(4)]]
    payments.close()
    assert [error.reason for error in failed if isinstance(error, PaymentUnavailable)] == [Reason.TIMEOUT] * 4


def test_a_buyer_is_told_when_the_provider_does_not_know_us(customer: FlaskClient, provider: Provider) -> None:
    provider.token_answers = [(401, {"error": "invalid_client"}, {})]
    answer = customer.post("/checkout", json={"lines": [{"product_id": 11, "quantity": 1}]})
    assert (answer.status_code, answer.json["error"] if answer.json else None) == (500, "internal_error")
    assert customer.post("/checkout", json={"lines": [{"product_id": 11, "quantity": 1}]}).status_code == 201


def test_the_secret_stays_secret(settings: Settings) -> None:
    assert settings.payments_client_secret.get_secret_value() not in repr(settings)
