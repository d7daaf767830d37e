"""One of many processes that share a circuit: obeys the words on its standard input, a line each, and answers each."""

from __future__ import annotations

import sys
import time

import redis

from shop.resilience import CircuitBreaker, CircuitOpen, Rules


class Failure(Exception):
    pass


def main(redis_url: str, cooldown_s: float) -> None:
    rules = Rules(failures=3, cooldown_s=cooldown_s, lease_s=30)
    breaker = CircuitBreaker("shared-by-processes", rules, redis_url)
    client = redis.Redis.from_url(redis_url)

    def fail() -> None:
        raise Failure

    def hold() -> None:
        while not client.exists("released"):
            time.sleep(0.01)

    calls = {"fail": fail, "hold": hold, "succeed": lambda: None}
    for line in sys.stdin:
        try:
            breaker.call(calls[line.strip()])
        except Failure:
            print("failed", flush=True)
        except CircuitOpen:
            print("refused", flush=True)
        else:
            print("made", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
