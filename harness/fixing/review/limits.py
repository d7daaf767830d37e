"""Limits that were widened instead of the cause being mended, and pauses."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator

from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Function, Module, Unreadable, parse, source
from harness.fixing.review.numbers import Defaults, Setting, field_defaults, number, settings
from harness.fixing.review.routes import views
from harness.model.fix import Severity

MAX_FACTOR = 4.0  # a limit raised further than this is a veto
MAX_FROM_NOTHING = 10.0  # the same where it was 0
MAX_REQUEST_SLEEP_S = 1.0

_LIMIT = re.compile(
    r"(^|_)(pool|overflow|threads?|workers?|limit|max|maximum|size|maxsize|retries|attempts|connections|backlog"
    r"|concurrency|capacity|requests)(_|$)",
    re.IGNORECASE,
)
_TIMEOUT = re.compile(r"(^|_)(timeout|deadline)(_|$)", re.IGNORECASE)
_NAMES = re.compile(f"{_LIMIT.pattern}|{_TIMEOUT.pattern}", re.IGNORECASE)
_PORTION = re.compile(r"(^|_)(batch|chunk|page|buffer|body|content|length|id|name)(_|$)", re.IGNORECASE)
_NO_LIMIT_AT_ZERO = frozenset({"pool_size", "max_requests", "limit"})
_SLEEPS = ("time.sleep", "gevent.sleep", "asyncio.sleep")
_UNBOUNDED = ("functools.cache",)
_RULE = "changed-limit"


def changed_limit(change: Change) -> Iterator[Finding]:
    was = _defaults(change)
    for path, module in change.after.items():
        if path in change.before:
            yield from _compared(change.before[path], module, was, was | field_defaults(module))
    yield from change.added(_unbounded_caches)
    yield from change.added(_restarts)


def sleep(change: Change) -> Iterator[Finding]:
    yield from change.added(_sleeps)


def _defaults(change: Change) -> dict[str, float | None]:
    """Of the settings in all files before: what ``settings.db_pool_size`` stands for."""
    found: dict[str, float | None] = {}
    for path, text in change.old.files.items():
        if path.endswith(".py") and (_LIMIT.search(text) or "timeout" in text.casefold()):
            try:
                found |= field_defaults(change.before.get(path) or parse(path, text))
            except Unreadable:
                continue
    return found


def _compared(before: Module, after: Module, was: Defaults, now: Defaults) -> Iterator[Finding]:
    old = _named_limits(before, was)
    new = _named_limits(after, now)
    for key, settings_now in new.items():
        for position, setting in enumerate(settings_now):
            earlier = old.get(key, [])
            yield from _judged(earlier[position] if position < len(earlier) else None, setting, after)
    for key, settings_then in old.items():
        if key not in new and _TIMEOUT.search(key[1]) and not _is_open(settings_then[0]):
            message = f"the limit {key[1]} is not set any more in {key[0].strip() or 'the file'}"
            yield found(_RULE, "warning", after, after.tree, message, str(key))


def _named_limits(module: Module, defaults: Defaults) -> dict[tuple[str, str], list[Setting]]:
    named: dict[tuple[str, str], list[Setting]] = {}
    for setting in settings(module, defaults, _NAMES):
        named.setdefault((setting.scope, setting.name), []).append(setting)
    return named


def _judged(earlier: Setting | None, setting: Setting, module: Module) -> Iterator[Finding]:
    then = earlier.value if earlier else math.nan
    now = setting.value
    if earlier and (then == now or source(earlier.node) == source(setting.node)):
        return
    severity, how = _weighed(earlier, setting)
    if severity is not None:
        message = f"{setting.name} {how}"
        yield found(_RULE, severity, module, setting.node, message, f"{setting.scope} {setting.name}")


def _weighed(earlier: Setting | None, setting: Setting) -> tuple[Severity | None, str]:
    now, then = setting.value, earlier.value if earlier else math.nan
    if _is_open(setting):
        if earlier is None:
            return "warning", "has no limit in this new place"
        return (None, "") if _is_open(earlier) else ("veto", "has no limit any more")
    if now is None or math.isnan(now) or earlier is None:
        return None, ""
    if then is None or _is_open(earlier):
        return "note", f"is {now:g} now; it had no limit"
    if math.isnan(then):
        return "warning", f"is fixed at {now:g} now"
    if now < then:
        return "note", f"is lowered from {then:g} to {now:g}"
    far = now > MAX_FACTOR * then if then > 0 else now > MAX_FROM_NOTHING
    if far and not _PORTION.search(setting.name):
        return "veto", f"is raised from {then:g} to {now:g}: trouble that comes later is not mended"
    return "warning", f"is raised from {then:g} to {now:g}"


def _is_open(setting: Setting) -> bool:
    """Whether the value means that there is no limit."""
    value = setting.value
    if value is None or value == math.inf or value < 0:
        return True
    return value == 0 and bool(_TIMEOUT.search(setting.name) or setting.name in _NO_LIMIT_AT_ZERO)


def _unbounded_caches(module: Module) -> Iterator[Finding]:
    """``functools.cache``, and ``lru_cache(maxsize=None)``."""
    for node, origin in module.references():
        call = module.parents[node]
        sizes = [*call.args, *(each.value for each in call.keywords)] if isinstance(call, ast.Call) else []
        unbounded = origin == "functools.lru_cache" and sizes and number(sizes[0], {}) is None
        if origin in _UNBOUNDED or unbounded:
            message = "this cache grows without a limit"
            yield found(_RULE, "warning", module, node, message, f"{module.scope(module.parents[node])} {origin}")


def _restarts(module: Module) -> Iterator[Finding]:
    """Of gunicorn and its kind: workers that end after so many requests."""
    for name in ("max_requests", "max_requests_jitter", "max_worker_lifetime", "reload_on_rss"):
        for value in module.values.get(name, []):
            message = f"{name} restarts the workers again and again: what they lose stays"
            yield found(_RULE, "warning", module, value, message, name)


def _sleeps(module: Module) -> Iterator[Finding]:
    constants = field_defaults(module)
    in_requests = set(views(module).values())
    for call in module.of(ast.Call):
        if module.origin(call.func) not in _SLEEPS or not call.args:
            continue
        seconds = number(call.args[0], constants) if not isinstance(call.args[0], ast.Call) else math.nan
        around = {each for each in module.ancestors(call) if isinstance(each, Function)}
        long = seconds is not None and seconds > MAX_REQUEST_SLEEP_S
        severity: Severity = "veto" if long and around & in_requests else "warning"
        where = "a request waits in its view" if severity == "veto" else "a pause"
        yield found("sleep", severity, module, call, f"{source(call, 80)}: {where}")
