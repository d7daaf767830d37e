from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

from shop.recent import Recent

AGES_S = 600.0


def test_what_is_kept_is_not_found_again() -> None:
    recent = Recent[str, list[int]](size=2, fresh_s=AGES_S)
    found = recent.get("a", lambda: [1])
    assert recent.get("a", lambda: [2]) is found


def test_the_least_recently_used_one_goes() -> None:
    recent = Recent[str, int](size=2, fresh_s=AGES_S)
    for number, key in enumerate("abac"):  # b makes room for c
        recent.get(key, lambda number=number: number)  # type: ignore[misc] # mypy wants no default in a lambda
    assert {key: recent.get(key, lambda: -1) for key in "acb"} == {"a": 0, "c": 3, "b": -1}


def test_what_is_too_old_is_found_anew() -> None:
    recent = Recent[str, int](size=2, fresh_s=0.02)
    assert recent.get("a", lambda: 1) == 1
    time.sleep(0.03)
    assert recent.get("a", lambda: 2) == 2


def test_age_counts_from_before_it_was_found() -> None:
    recent = Recent[str, int](size=2, fresh_s=0.02)

    def slowly() -> int:
        time.sleep(0.03)
        return 1

    assert recent.get("a", slowly) == 1
    assert recent.get("a", lambda: 2) == 2


def test_who_finds_holds_up_nobody() -> None:
    recent = Recent[str, int](size=2, fresh_s=AGES_S)
    finding, answered = threading.Event(), threading.Event()

    def wait_for_the_other() -> int:
        finding.set()
        return 1 if answered.wait(20) else 0

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(recent.get, "a", wait_for_the_other)
        assert finding.wait(20)
        assert recent.get("b", lambda: 2) == 2
        answered.set()
        assert slow.result() == 1


class Found:
    """Something that can be watched."""


def test_many_threads_and_keys_stay_within_the_bound() -> None:
    recent = Recent[int, Found](size=8, fresh_s=AGES_S)
    alive = weakref.WeakSet[Found]()

    def find() -> Found:
        alive.add(found := Found())
        return found

    def ask(first: int) -> None:
        for number in range(first, first + 2000):
            recent.get(number % 50, find)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(0, 40, 10)))
    gc.collect()
    assert len(alive) == 8
