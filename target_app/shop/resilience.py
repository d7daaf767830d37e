"""Retries, and a circuit breaker whose state all processes share through Redis.

The circuit opens after a number of failures in a row and refuses calls for a cooldown. After that a single call, the
probe, is let through; while it runs, the others are still refused. If it succeeds the circuit closes, else the cooldown
starts again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, cast
from uuid import uuid4

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 0.25
REDIS_PAUSE_S = 5.0  # how long the local state stands in before Redis is tried again

T = TypeVar("T")


def retry(call: Callable[[], T], *, retries: int, backoff_s: float, when: Callable[[BaseException], bool]) -> T:
    """Calls up to ``1 + retries`` times, waiting 1, 2, 4 ... times ``backoff_s`` between; raises the last error."""
    attempts = Retrying(
        stop=stop_after_attempt(1 + retries),
        wait=wait_exponential(multiplier=backoff_s),
        retry=retry_if_exception(when),
        reraise=True,
    )
    return attempts(call)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpen(Exception):
    """The call was refused without being made; worth trying again in ``retry_after_s``."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__(f"the circuit of {name} is open for another {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    failures: int
    cooldown_s: float
    lease_s: float  # a probe that has not reported by then is given up, and another call becomes the probe


class Circuit(Protocol):
    """Where the state is kept. ``call`` is a name that no other call has."""

    def admit(self, call: str) -> float:
        """0 when the call may be made, else the seconds to wait."""

    def record(self, call: str, *, succeeded: bool) -> None: ...

    def state(self) -> State: ...


class LocalCircuit:
    """The state of this process alone."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._probe: tuple[str, float] | None = None  # the call, and when its lease ends

    def admit(self, call: str) -> float:
        with self._lock:
            now = time.monotonic()
            wait_s = self._wait_s(now)
            if wait_s > 0 or self._opened_at is None:
                return wait_s
            if self._probe is not None and now < self._probe[1]:
                return self._probe[1] - now
            self._probe = (call, now + self._rules.lease_s)
            return 0.0

    def record(self, call: str, *, succeeded: bool) -> None:
        with self._lock:
            if self._opened_at is not None:
                if self._probe is None or self._probe[0] != call:
                    return  # it began before the circuit opened, and says nothing about now
                self._probe = None
                self._failures = 0
                self._opened_at = None if succeeded else time.monotonic()
                return
            self._failures = 0 if succeeded else self._failures + 1
            if self._failures >= self._rules.failures:
                self._opened_at = time.monotonic()

    def state(self) -> State:
        with self._lock:
            if self._opened_at is None:
                return State.CLOSED
            return State.OPEN if self._wait_s(time.monotonic()) > 0 else State.HALF_OPEN

    def _wait_s(self, now: float) -> float:
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self._rules.cooldown_s - now)


# KEYS: the state (a hash), the probe's lease. Times are milliseconds of Redis' own clock.
_NOW = "local time = redis.call('TIME'); local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
_ADMIT = (
    _NOW
    + """
local opened = redis.call('HGET', KEYS[1], 'opened_ms')
if not opened then return 0 end
local left = opened + ARGV[1] - now
if left > 0 then return left end
if redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[2]) then return 0 end
return math.max(redis.call('PTTL', KEYS[2]), 1)
"""
)
_RECORD = (
    _NOW
    + """
local succeeded = ARGV[3] == '1'
if redis.call('HEXISTS', KEYS[1], 'opened_ms') == 1 then
  if redis.call('GET', KEYS[2]) ~= ARGV[2] then return end
  redis.call('DEL', KEYS[2])
  if succeeded then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'opened_ms', now) end
elseif succeeded then
  redis.call('DEL', KEYS[1])
elseif redis.call('HINCRBY', KEYS[1], 'failures', 1) >= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'opened_ms', now)
end
"""
)
_STATE = (
    _NOW
    + """
local opened = redis.call('HGET', KEYS[1], 'opened_ms')
if not opened then return 'closed' end
return opened + ARGV[1] > now and 'open' or 'half_open'
"""
)


class SharedCircuit:
    """The state of all processes, in Redis; each step is one atomic script. Every method raises RedisError."""

    def __init__(self, redis: Redis, name: str, rules: Rules) -> None:
        self._rules = rules
        self._keys = [f"breaker:{name}", f"breaker:{name}:probe"]
        self._cooldown_ms = round(rules.cooldown_s * 1000)
        self._admit, self._record, self._state = (redis.register_script(script) for script in (_ADMIT, _RECORD, _STATE))

    def admit(self, call: str) -> float:
        lease_ms = round(self._rules.lease_s * 1000)
        return cast(int, self._admit(self._keys, (self._cooldown_ms, lease_ms, call))) / 1000

    def record(self, call: str, *, succeeded: bool) -> None:
        self._record(self._keys, (self._rules.failures, call, int(succeeded)))

    def state(self) -> State:
        return State(cast(bytes, self._state(self._keys, [self._cooldown_ms])).decode())


def connect(redis_url: str) -> Redis:
    """Opens no connection yet. A connection that went stale is replaced once; all else fails at once."""
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    return Redis.from_url(redis_url, retry=Retry(NoBackoff(), 1), **timeouts)


class CircuitBreaker:
    """Shares its state through Redis; without Redis, or while it is away, each process decides for itself."""

    def __init__(self, name: str, rules: Rules, redis_url: str | None = None) -> None:
        self._name = name
        self._local = LocalCircuit(rules)
        self._redis = None if redis_url is None else connect(redis_url)
        self._shared = None if self._redis is None else SharedCircuit(self._redis, name, rules)
        self._shared_from = 0.0

    def call(self, function: Callable[[], T]) -> T:
        """Calls ``function``, holding no lock; what it raises counts as a failure. Raises CircuitOpen."""
        call = uuid4().hex
        wait_s = self._ask(lambda circuit: circuit.admit(call))
        if wait_s > 0:
            raise CircuitOpen(self._name, wait_s)
        try:
            result = function()
        except Exception:
            self._ask(lambda circuit: circuit.record(call, succeeded=False))
            raise
        self._ask(lambda circuit: circuit.record(call, succeeded=True))
        return result

    def state(self) -> State:
        return self._ask(lambda circuit: circuit.state())

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()

    def _ask(self, question: Callable[[Circuit], T]) -> T:
        if self._shared is not None and time.monotonic() >= self._shared_from:
            try:
                return question(self._shared)
            except RedisError as error:
                self._shared_from = time.monotonic() + REDIS_PAUSE_S
                logger.warning("the breaker of %s uses local state, Redis is away: %s", self._name, error)
        return question(self._local)
