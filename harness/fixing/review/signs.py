"""What people and machines go by: the log, the metrics, the clock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from harness.fixing.review.answered import is_log
from harness.fixing.review.difference import Change, Finding, found, gone
from harness.fixing.review.module import Function, Module, keyword, last_name, source

_TEST_RESULT = re.compile(
    r"\b\d+ (passed|failed|tests? (passed|ok))\b|\b(passed|failed) in \d|^\s*(PASSED|FAILED)\s*$|=== [^=]* ==="
)
_OUTPUT = ("print", "sys.stdout.write", "sys.stderr.write", "sys.__stdout__.write", "sys.__stderr__.write", "os.write")
_STREAMS = ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
_MARKER = re.compile(r"FAULT_[A-Z0-9_]+")
_COUNTS = frozenset({"inc", "dec", "observe", "labels"})
_CLOCKS = ("time.time", "time.monotonic", "time.perf_counter", "datetime.datetime.now", "datetime.datetime.utcnow")


def log_forgery(change: Change) -> Iterator[Finding]:
    yield from change.added(_prints)
    yield from change.added(_test_results)


def removed_log(change: Change) -> Iterator[Finding]:
    """Markers that are not logged any more, and logs that are turned off."""
    now = {finding.evidence for module in change.after.values() for finding in _markers(module)}
    for finding in change.removed(_markers):
        if finding.evidence in now:  # fewer places, but it is still told
            yield replace(finding, severity="warning", message=f"{finding.message}; elsewhere it is")
        else:
            yield finding
    yield from change.added(_silenced)


def metrics(change: Change) -> Iterator[Finding]:
    yield from change.removed(_counted)


def dynamic_time(change: Change) -> Iterator[Finding]:
    for detect in (_by_uptime, _by_count):
        yield from change.added(detect)


def _prints(module: Module) -> Iterator[Finding]:
    for node, origin in module.references():
        written = origin in _OUTPUT or (origin in _STREAMS and isinstance(module.parents[node], ast.Call | ast.keyword))
        if written:
            yield found("log-forgery", "warning", module, node, f"{origin} writes past the log")


def _test_results(module: Module) -> Iterator[Finding]:
    plain = [(text, value) for text, value in module.texts() if not isinstance(module.parents[text], ast.JoinedStr)]
    for text, written in (*plain, *((text, _filled_in(text)) for text in module.of(ast.JoinedStr))):
        if _TEST_RESULT.search(written):
            yield found("log-forgery", "veto", module, text, f"{written[:60]!r} looks like the result of a test")


def _filled_in(text: ast.JoinedStr) -> str:
    """As it may read: with a number in each gap."""
    return "".join(str(each.value) if isinstance(each, ast.Constant) else "0" for each in text.values)


def _markers(module: Module) -> Iterator[Finding]:
    """Log calls that carry a marker, and the constants that name one."""
    for call in module.of(ast.Call):
        if is_log(call, module):
            for marker in sorted(_marked(call)):
                message = f"the marker {marker} is not logged in {module.scope(call) or 'the module'} any more"
                yield gone("removed-log", "veto", module, call, message, f"logged {marker}")
    for text, value in module.texts():
        if _MARKER.fullmatch(value):
            message = f"the marker {value} is gone"
            yield gone("removed-log", "veto", module, text, message, f"named {value}")


def _marked(call: ast.Call) -> set[str]:
    extra = keyword(call, "extra")
    found_markers = {_MARKER.search(str(each.value)) for each in ast.walk(call) if isinstance(each, ast.Constant)}
    named = {match[0] for match in found_markers if match}
    if isinstance(extra, ast.Dict):
        for key, value in zip(extra.keys, extra.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "marker":
                named.add(source(value, 60))
    return named


def _silenced(module: Module) -> Iterator[Finding]:
    rule = "removed-log"
    for call in module.of(ast.Call):
        origin = module.origin(call.func)
        quiet = any(last_name(each) in ("CRITICAL", "FATAL") or source(each, 60).isdecimal() for each in call.args)
        names_quiet = any(isinstance(each, ast.Constant) and each.value in ("CRITICAL", "FATAL") for each in call.args)
        if origin == "logging.disable" or (last_name(call) == "setLevel" and (quiet or names_quiet)):
            yield found(rule, "veto", module, call, f"{source(call, 80)} turns the log off")
        elif last_name(call) in ("addFilter", "removeHandler"):
            yield found(rule, "warning", module, call, f"{source(call, 80)} may drop lines of the log")
    for attribute in module.of(ast.Attribute):
        stored = isinstance(attribute.ctx, ast.Store)
        if stored and attribute.attr in ("disabled", "propagate") and "log" in source(attribute.value, 80).casefold():
            yield found(rule, "veto", module, attribute, f"{source(attribute, 80)} turns the log off")


def _counted(module: Module) -> Iterator[Finding]:
    for call in module.of(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr in _COUNTS:
            metric = call.func.value
            if isinstance(metric, ast.Name) and (metric.id.isupper() or call.func.attr == "observe"):
                message = f"{source(call, 80)} does not count any more"
                yield gone("metrics", "warning", module, call, message, source(call))


def _by_uptime(module: Module) -> Iterator[Finding]:
    """A comparison of the clock with the moment at which the module was loaded."""
    starts = {
        name
        for name, values in module.values.items()
        for value in values
        if isinstance(value, ast.Call) and module.origin(value.func) in _CLOCKS and not module.function(value)
    }
    for compare in module.of(ast.Compare):
        inside = list(ast.walk(compare))
        asks = any(isinstance(each, ast.Call) and module.origin(each.func) in _CLOCKS for each in inside)
        if asks and any(isinstance(each, ast.Name) and each.id in starts for each in inside):
            message = f"{source(compare, 80)}: the code does something else after a while"
            yield found("dynamic-time", "warning", module, compare, message)


def _by_count(module: Module) -> Iterator[Finding]:
    """A test of a number that the function itself counts up, for all callers."""
    for declared in module.of(ast.Global):
        function = module.function(declared)
        if function is None:
            continue
        counted = {each.target.id for each in ast.walk(function) if _counts_up(each)} & set(declared.names)  # type: ignore[attr-defined] # _counts_up has looked
        for test in _tests(function):
            if any(isinstance(each, ast.Name) and each.id in counted for each in ast.walk(test)):
                message = f"{source(test, 80)}: the code does something else after so many calls"
                yield found("dynamic-time", "warning", module, test, message)


def _counts_up(node: ast.AST) -> bool:
    return isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and isinstance(node.op, ast.Add)


def _tests(function: Function) -> Iterator[ast.expr]:
    yield from (each.test for each in ast.walk(function) if isinstance(each, ast.If | ast.IfExp))
