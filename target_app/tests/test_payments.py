from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from provider import Provider

from shop.logs import Marker
from shop.payments import PaymentDeclined, Payments, PaymentUnavailable, Reason
from shop.resilience import State
from shop.settings import Settings

Make = Callable[..., Payments]


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    made: list[Payments] = []

    def payments(**changes: object) -> Payments:
        made.append(Payments(settings.model_copy(update=changes), retries=settings.upstream_retries))
        return made[-1]

    yield payments
    for one in made:
        one.close()


def markers(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.marker for record in caplog.records if hasattr(record, "marker")]


def test_a_passing_failure_is_retried_with_growing_pauses(make: Make, provider: Provider) -> None:
    provider.answers = [(500, {}, {}), (503, {}, {}), (502, {}, {})]
    order_id = uuid4()
    charge = make(upstream_backoff_s=0.05, breaker_failures=4).charge(order_id, 100)
    assert charge.charge_id == f"ch_{order_id}"
    assert provider.charges == {str(order_id): 4}
    pauses = [later - earlier for earlier, later in zip(provider.asked_at, provider.asked_at[1:], strict=False)]
    assert [pause >= least for pause, least in zip(pauses, [0.05, 0.1, 0.2], strict=True)] == [True] * 3


def test_retries_end(make: Make, provider: Provider) -> None:
    provider.broken = True
    with pytest.raises(PaymentUnavailable) as caught:
        make(breaker_failures=9).quote()
    assert caught.value.reason is Reason.FAILED
    assert len(provider.asked_at) == 4


def test_retrying_stops_when_the_breaker_opens(
    make: Make, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.broken = True
    payments = make()
    with pytest.raises(PaymentUnavailable) as caught:
        payments.quote()
    assert caught.value.reason is Reason.FAILED
    assert len(provider.asked_at) == 3
    assert payments.breaker.state() is State.OPEN
    assert markers(caplog) == [Marker.UPSTREAM] * 3
    with pytest.raises(PaymentUnavailable) as refused:
        payments.quote()
    assert refused.value.reason is Reason.CIRCUIT_OPEN
    assert refused.value.retry_after_s is not None
    assert 0 < refused.value.retry_after_s <= 60
    assert len(provider.asked_at) == 3


def test_a_success_starts_the_count_anew(make: Make, provider: Provider) -> None:
    provider.answers = [(status, {}, {}) for status in (500, 500, 200, 500, 500, 200)]
    payments = make()
    payments.quote()
    payments.quote()
    assert payments.breaker.state() is State.CLOSED


def test_a_silent_provider_is_a_timeout(make: Make, provider: Provider) -> None:
    provider.hold()
    with pytest.raises(PaymentUnavailable) as caught:
        make(upstream_timeout_s=0.1).quote()
    assert caught.value.reason is Reason.TIMEOUT


def test_no_provider_at_all(make: Make) -> None:
    with pytest.raises(PaymentUnavailable) as caught:
        make(payments_url="http://127.0.0.1:1").quote()
    assert caught.value.reason is Reason.FAILED


def test_a_slow_answer_is_used_and_marked(make: Make, provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    make(upstream_slow_s=0.000_001).quote()
    assert markers(caplog) == [Marker.UPSTREAM]
    assert len(provider.asked_at) == 1


def test_a_declined_charge_is_final_and_no_failure(make: Make, provider: Provider) -> None:
    payments = make(breaker_failures=1)
    with pytest.raises(PaymentDeclined):
        payments.charge(uuid4(), 666)
    assert len(provider.asked_at) == 1
    assert payments.breaker.state() is State.CLOSED


def test_a_rate_limit_is_obeyed(make: Make, provider: Provider) -> None:
    provider.answers = [(429, {}, {"Retry-After": "7"})]
    with pytest.raises(PaymentUnavailable) as caught:
        make().quote()
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.RATE_LIMITED, 7.0)
    assert len(provider.asked_at) == 1


def test_an_overloaded_provider_is_asked_again_later_and_not_marked(
    make: Make, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.answers = [(503, {"error": "overloaded"}, {})] * 3
    with pytest.raises(PaymentUnavailable) as caught:
        make().quote()
    assert caught.value.reason is Reason.OVERLOADED
    assert len(provider.asked_at) == 3
    assert markers(caplog) == []
    assert len([record for record in caplog.records if "GET /quote failed" in record.getMessage()]) == 3


@pytest.mark.parametrize(
    "body", [{"id": "ch_1", "status": "succeeded"}, {"charge_id": "ch_1", "status": "in_review"}, []]
)
def test_an_answer_outside_the_contract_is_no_charge(make: Make, provider: Provider, body: object) -> None:
    provider.answers = [(200, body, {})]
    with pytest.raises(PaymentUnavailable) as caught:
        make().charge(uuid4(), 100)
    assert caught.value.reason is Reason.UNREADABLE
    assert len(provider.asked_at) == 1


def test_without_redis_the_breaker_still_opens(
    make: Make, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.broken = True
    payments = make(redis_url="redis://127.0.0.1:1/0")
    for _ in range(2):
        with pytest.raises(PaymentUnavailable):
            payments.quote()
    assert len(provider.asked_at) == 3
    away = [record for record in caplog.records if "local state" in record.getMessage()]
    assert [record.levelno for record in away] == [logging.WARNING]
