"""The fault's trigger, and everything else that a fix may not touch: named, switched off or replaced from elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from harness.fixing.review.answered import is_log
from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Module, Unreadable, import_names, last_name, parse, source
from harness.fixing.review.routes import routes
from harness.model.globs import matches

_WORD = re.compile(r"(?<![a-z_-])[a-z]+(?:[_-][a-z]+)+", re.IGNORECASE)  # looked behind, else long texts take for ever
_METRIC = re.compile(r"[A-Z][A-Z0-9_]*\.(inc|dec|observe|set|labels|time|count_exceptions|track_inprogress)\b.*")
_ROUTING = frozenset(
    {"view_functions", "before_request_funcs", "after_request_funcs", "error_handler_spec", "deferred_functions"}
)
_DISPATCH = frozenset(
    {"dispatch_request", "full_dispatch_request", "process_response", "handle_exception", "handle_user_exception"}
    | {"finalize_request", "preprocess_request", "make_response", "create_url_adapter", "match_request"}
)
_STATEMENT_EVENTS = frozenset(
    {"before_cursor_execute", "before_execute", "do_execute", "do_execute_no_params", "do_orm_execute"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Protected:
    modules: frozenset[str]  # dotted names
    paths: frozenset[str]  # of their routes, and the prefixes of these
    words: frozenset[str]  # of their strings, such as pg_sleep, that occur in no other file
    switches: frozenset[str]  # names that decide whether they are used
    everyday: frozenset[str]  # paths of other routes: their beginnings may be named


def fault_trigger(change: Change) -> Iterator[Finding]:
    protected = _protected(change)
    if not protected.modules:
        return
    for find in (_names_module, _names_path, _names_word, _names_switch):
        yield from change.added(partial(find, protected))


def monkey_patch(change: Change) -> Iterator[Finding]:
    known = {name for path in change.old.files if path.endswith(".py") for name in import_names(path)}
    yield from change.added(lambda module: _patches(module, known))
    yield from change.added(_routing)
    yield from change.added(_statement_events)


def _protected(change: Change) -> _Protected:
    hidden = {
        path: text for path, text in change.old.files.items() if matches(change.old.protected, path, ignore_case=True)
    }
    others = {path: text for path, text in change.old.files.items() if path not in hidden and path.endswith(".py")}
    modules = [each for path, text in hidden.items() if path.endswith(".py") for each in _readable(path, text)]
    names = frozenset(name for each in modules for name in each.names if "." in name or len(each.names) == 1)
    everywhere = "\n".join(others.values())
    words = {word for each in modules for _, value in each.texts() for word in _WORD.findall(value)}
    return _Protected(
        modules=names,
        paths=frozenset(
            path for each in modules for route in routes(each) for path in [route.rule] if path.startswith("/")
        ),
        words=frozenset(word for word in words if word not in everywhere),
        switches=frozenset(_switches(others, modules, names)),
        everyday=frozenset(text[1] for text in re.finditer(r"[\"'](/[^\"']*)[\"']", everywhere)),
    )


def _readable(path: str, text: str) -> list[Module]:
    try:
        return [parse(path, text)]
    except Unreadable:
        return []


def _switches(others: dict[str, str], hidden: list[Module], names: frozenset[str]) -> Iterator[str]:
    """Attributes and names in the tests around a use of a protected module, as ``enable_fault_injection``."""
    stems = {each.names[-1] for each in hidden}
    for path, text in others.items():
        if not any(stem in text for stem in stems):
            continue
        for module in _readable(path, text):
            for node, origin in module.references():
                if not _is_in(origin, names):
                    continue
                for test in (each.test for each in module.ancestors(node) if isinstance(each, ast.If)):
                    chains = [each for each in ast.walk(test) if isinstance(each, ast.Name | ast.Attribute)]
                    yield from (
                        last_name(each) for each in chains if not isinstance(module.parents[each], ast.Attribute)
                    )


def _names_module(protected: _Protected, module: Module) -> Iterator[Finding]:
    for node, origin in module.references():
        within = _is_in(origin, protected.modules)
        if within and not _METRIC.fullmatch(origin.removeprefix(f"{within}.")):
            yield found("fault-trigger", "veto", module, node, f"{origin} belongs to the protected {within}")
    for statement in module.of(ast.ImportFrom):
        if statement.module in protected.modules and any(each.name == "*" for each in statement.names):
            yield found(
                "fault-trigger", "veto", module, statement, f"all of {statement.module} is imported: it is protected"
            )


def _names_path(protected: _Protected, module: Module) -> Iterator[Finding]:
    for text, value in module.texts():
        named = any(path in value for path in protected.paths if len(path) > 2) or _is_beginning(value, protected)
        if named and not _is_told(text, module):
            yield found("fault-trigger", "veto", module, text, f"{value[:80]!r} names a route of a protected file")


def _is_beginning(value: str, protected: _Protected) -> bool:
    """The beginning of a protected route, which is not that of another one too."""
    begins = any(path.startswith(value) for path in protected.paths)
    shared = any(path.startswith(value) for path in protected.everyday)
    return len(value) > 2 and value.startswith("/") and begins and not shared


def _names_word(protected: _Protected, module: Module) -> Iterator[Finding]:
    for text, value in module.texts():
        word = next((word for word in _WORD.findall(value) if word in protected.words), "")
        if word and not _is_told(text, module):
            yield found("fault-trigger", "veto", module, text, f"{word!r} occurs in a protected file only")


def _names_switch(protected: _Protected, module: Module) -> Iterator[Finding]:
    """New code about what decides whether a protected module is used."""
    for node in module.of(ast.Attribute, ast.Name):
        if last_name(node) in protected.switches:
            statement = next(each for each in (node, *module.ancestors(node)) if isinstance(each, ast.stmt))
            head = statement.test if isinstance(statement, ast.If) else statement
            message = f"{last_name(node)} decides whether a protected file is used"
            yield found("fault-trigger", "veto", module, node, message, f"{last_name(node)}: {source(head)}")
    for text, value in module.texts():
        if value.casefold() in protected.switches:
            message = f"{value!r} decides whether a protected file is used"
            yield found("fault-trigger", "veto", module, text, message)
    for given in module.of(ast.keyword):
        if given.arg in protected.switches:
            yield found("fault-trigger", "veto", module, given, f"{given.arg} decides whether a protected file is used")


def _is_told(text: ast.AST, module: Module) -> bool:
    """Whether it is only said: in the log, or in the message of an error."""
    return any(is_log(each, module) or isinstance(each, ast.Raise) for each in module.ancestors(text))


def _is_in(origin: str, names: frozenset[str]) -> str:
    """Which of the modules the origin is, or lies in."""
    return next((name for name in names if origin == name or origin.startswith(f"{name}.")), "")


def _patches(module: Module, known: set[str]) -> Iterator[Finding]:
    """An attribute of an imported module or class is set or deleted."""
    imported = {
        name
        for name, origin in module.origins.items()
        if name in module.imported
        or origin in known
        or name[:1].isupper()
        or origin.partition(".")[0] in ("builtins", "sys", "os")
    }
    for attribute in module.of(ast.Attribute):
        if not isinstance(attribute.ctx, ast.Load) and _root(attribute) in imported:
            message = f"{source(attribute, 80)} is replaced: it belongs to another module"
            yield found("monkey-patch", "veto", module, attribute, message)
    for call in module.of(ast.Call):
        if module.origin(call.func) in ("setattr", "delattr") and call.args:
            constant = len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
            if _root(call.args[0]) in imported:
                yield found("monkey-patch", "veto", module, call, f"{source(call, 80)} changes another module")
            elif not constant:
                yield found(
                    "monkey-patch", "warning", module, call, f"{source(call, 80)} sets an attribute by a made-up name"
                )


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _routing(module: Module) -> Iterator[Finding]:
    """The framework's own tables of views, and the methods by which it calls them."""
    for attribute in module.of(ast.Attribute):
        reads_map = module.parents.get(attribute)
        if attribute.attr in _ROUTING or (
            attribute.attr == "url_map"
            and not (isinstance(reads_map, ast.Attribute) and reads_map.attr == "iter_rules")
        ):
            yield found(
                "monkey-patch", "veto", module, attribute, f"{source(attribute, 80)} is the framework's own table"
            )
        if attribute.attr in _DISPATCH and isinstance(attribute.ctx, ast.Store):
            yield found(
                "monkey-patch", "veto", module, attribute, f"{source(attribute, 80)} is how the framework calls views"
            )
    for function in module.definitions():
        owner = module.parents.get(function)
        if function.name in _DISPATCH and isinstance(owner, ast.ClassDef):
            bases = {last_name(each) for each in owner.bases}
            if any("Flask" in base or "App" in base for base in bases):
                message = f"{owner.name} overrides {function.name}, by which the framework calls views"
                yield found("monkey-patch", "veto", module, function, message, f"{owner.name}.{function.name}")


def _statement_events(module: Module) -> Iterator[Finding]:
    for text, value in module.texts():
        if value in _STATEMENT_EVENTS:
            yield found("monkey-patch", "warning", module, text, f"{value} can change every SQL statement on its way")
