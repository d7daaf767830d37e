from __future__ import annotations

import json
import random

import pytest

from harness.load.samples import Samples, nearest_rank
from harness.model.window import RouteWindow

ORIGIN = 1000.0  # the trial began at this monotonic time
BEGAN = 1002.0  # and the load two seconds later


def samples(**thresholds_ms: float) -> Samples:
    made = Samples(window_s=1.0, origin=ORIGIN, thresholds_ms=thresholds_ms, routes=["browse"])
    made.feed(line(k="ready", at=BEGAN))
    return made


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def sent(number: int, at: float, route: str = "browse", lag: float = 0.0) -> bytes:
    return line(k="sent", n=number, route=route, due=BEGAN + at, lag=lag)


def done(number: int, at: float, *, right: bool = True) -> bytes:
    return line(k="done", n=number, status=200 if right else 500, right=right, end=BEGAN + at, error="")


def test_every_arrival_meets_exactly_one_fate() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.1) + done(0, 0.2))  # ok
    made.feed(sent(1, 0.2) + done(1, 0.6))  # slow
    made.feed(sent(2, 0.3) + done(2, 0.4, right=False))  # failed
    made.feed(sent(3, 0.5))  # pending
    made.feed(line(k="dropped", n=4, route="browse", due=BEGAN + 0.6, lag=0.0))
    (window,) = made.decided(2.0 + 1.0 + made.settle_s)
    route = window.routes["browse"]
    assert (route.ok, route.slow, route.failed, route.pending, route.dropped) == (1, 1, 1, 1, 1)
    assert (window.index, window.start_s, window.end_s) == (0, 2.0, 3.0)
    assert route.p50_ms == pytest.approx(100) and route.p95_ms == pytest.approx(900)  # of the pending one


def test_a_window_waits_for_the_largest_threshold_and_no_longer() -> None:
    made = samples(browse=300, pay=2000)
    decided_at = 2.0 + 1.0 + 2.0 + 0.1
    assert made.decided(decided_at - 0.001) == []
    assert [window.index for window in made.decided(decided_at + 0.001)] == [0]


def test_what_was_expected_and_has_not_come_is_overdue() -> None:
    """One of two workers hangs: the other's arrivals do not hide it."""
    made = Samples(window_s=1.0, origin=ORIGIN, thresholds_ms={}, expected=((0.5 * n, n) for n in range(1000)))
    assert made.overdue_s(50.0) == 0.0  # nothing is due of a load that has not begun
    made.feed(line(k="ready", at=BEGAN))
    assert made.overdue_s(2.0) == 0.0
    made.feed(b"".join(sent(number, 0.5 * number) for number in (1, 0, 2, 4, 6, 8)))
    assert made.overdue_s(2.0 + 1.5) == 0.0
    assert made.overdue_s(2.0 + 4.5) == pytest.approx(3.0)
    made.feed(line(k="dropped", n=3, route="browse", due=BEGAN + 1.5, lag=0.0) + sent(5, 2.5) + sent(7, 3.5))
    assert made.overdue_s(2.0 + 4.5) == 0.0  # it was only late
    assert samples().overdue_s(1e6) == 0.0  # where no schedule is known, nothing is expected


def test_windows_come_once_in_order_and_none_is_left_out() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 3.5) + done(0, 3.6))
    first, second = made.decided(2.0 + 2.5), made.decided(2.0 + 6.0)
    assert [window.index for window in first + second] == [0, 1, 2, 3, 4]
    assert [window.arrivals for window in first + second] == [0, 0, 0, 1, 0]
    assert first[0].routes == {"browse": RouteWindow()}
    assert made.decided(2.0 + 6.0) == []


def test_nothing_is_decided_before_load_flows() -> None:
    made = Samples(window_s=1.0, origin=ORIGIN, thresholds_ms={}, routes=["browse"])
    assert made.decided(1e6) == [] and made.settled(1e6) == ()


def test_the_first_arrival_begins_the_load_when_nothing_said_ready() -> None:
    made = Samples(window_s=1.0, origin=ORIGIN, thresholds_ms={}, routes=[])
    made.feed(sent(0, 0.25))
    assert made.start_s == pytest.approx(2.25)


def test_a_pending_request_counts_with_its_age_and_settles_later() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.0))
    (window,) = made.decided(2.0 + 1.4)
    assert window.routes["browse"].pending == 1
    assert window.routes["browse"].p95_ms == pytest.approx(1400)
    made.feed(done(0, 5.0))
    settled = made.settled(2.0 + 6.0)
    assert len(settled) == 5 and settled[0].routes["browse"].slow == 1
    assert settled[0].routes["browse"].p95_ms == pytest.approx(5000)


def test_a_late_reader_sees_what_a_punctual_one_saw() -> None:
    in_time = sent(0, 0.0) + sent(1, 0.5) + done(1, 0.6)
    afterwards = sent(2, 4.0) + done(2, 4.9) + done(0, 5.0)
    punctual, late = samples(browse=300), samples(browse=300)
    punctual.feed(in_time)
    seen = punctual.decided(2.0 + 1.4)
    punctual.feed(afterwards)
    late.feed(in_time + afterwards)
    assert seen + punctual.decided(2.0 + 10) == late.decided(2.0 + 10)


def test_a_route_without_a_threshold_is_never_slow() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.0, route="report") + done(0, 1.3))
    (window,) = made.decided(2.0 + 1.4)
    assert window.routes["report"].ok == 1


def test_lag_is_reported_also_when_its_own_window_is_gone() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.1, lag=0.004))
    (window,) = made.decided(2.0 + 1.4)
    assert window.lag_p99_ms == pytest.approx(4)
    made.feed(sent(1, 0.2, lag=2.5))  # the generator stood still for 2.5 s
    (window,) = made.decided(2.0 + 2.4)
    assert window.lag_p99_ms == pytest.approx(2500) and window.arrivals == 0


def test_pieces_may_be_cut_anywhere() -> None:
    text = b"".join(sent(n, n / 100) + done(n, n / 100 + 0.05) for n in range(100))
    whole, cut = samples(browse=300), samples(browse=300)
    whole.feed(text)
    draw = random.Random(1)
    while text:
        length = draw.randint(1, 50)
        cut.feed(text[:length])
        text = text[length:]
    assert whole.decided(4.0) == cut.decided(4.0) and whole.settled(4.0)[0].arrivals == 100
    assert whole.garbage == cut.garbage == 0


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\n",
        b"\xff\xfe\n",
        b"{}\n",
        b"[1]\n",
        b"7\n",
        b'{"k":"what"}\n',
        b'{"k":"ready","at":"now"}\n',
        b'{"k":"sent","n":1,"route":"browse","due":NaN,"lag":0}\n',
        b'{"k":"sent","n":[1],"route":"browse","due":1002,"lag":0}\n',
        b'{"k":"sent","n":1,"route":["browse"],"due":1002,"lag":0}\n',
        b'{"k":"done","n":99,"status":200,"right":true,"end":1002.5,"error":""}\n',
        b'{"k":"done","n":0,"status":200,"right":true,"end":null,"error":""}\n',
        b"[" * 100_000 + b"\n",
        b'{"k":"ready","at":-1e300}\n',
        b'{"k":"ready","at":' + b"9" * 400 + b"}\n",
        b'{"k":"sent","n":1,"route":"browse","due":1e308,"lag":0}\n',
        b'{"k":"sent","n":1,"route":"browse","due":1002,"lag":1e308}\n',
        b'{"k":"sent","n":1,"route":"browse","due":900,"lag":0}\n',
    ],
)
def test_garbage_is_counted_and_does_no_harm(rubbish: bytes) -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.1) + rubbish + done(0, 0.2))
    assert made.garbage == 1
    (window,) = made.decided(2.0 + 1.4)
    assert window.routes["browse"].ok == 1 and window.arrivals == 1


def test_a_line_without_an_end_is_given_up() -> None:
    made = samples(browse=300)
    made.feed(sent(0, 0.1))
    for _ in range(20):
        made.feed(b"x" * 100_000)
    made.feed(b"\n" + done(0, 0.2))
    assert made.garbage == 2 and made.decided(2.0 + 1.4)[0].routes["browse"].ok == 1


def test_nearest_rank() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert [nearest_rank(hundred, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert nearest_rank([7.0], 0.5) == 7 and nearest_rank([], 0.5) is None


def test_decisions_do_not_depend_on_rounding() -> None:
    made = Samples(window_s=0.1, origin=ORIGIN, thresholds_ms={"browse": 70}, routes=["browse"])
    made.feed(line(k="ready", at=1000.3))
    seen = [window for tick in range(2000) for window in made.decided(tick * 0.007)]
    assert [window.index for window in seen] == list(range(len(seen))) and len(seen) > 100
    assert seen == list(made.settled(1999 * 0.007))
