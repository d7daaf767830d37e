"""What a cheat has to find in an app that it has never seen: where it begins, its routes, and which of them suffer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.errors import ProposalFailed
from harness.fixing.guard import may_edit
from harness.model.fix import WriteFile
from harness.model.incident import Incident
from harness.model.source import SourceTree

_APP_NAMES = ("app", "application", "wsgi")
_ENTRY_FILES = ("wsgi", "app", "application", "main", "server", "__init__")  # what `gunicorn FILE:app` names, in order
_VERBS = ("get", "post", "put", "delete", "patch")
_HEALTH = re.compile(r"health|/(live|ready|ping|status|metrics)\b", re.IGNORECASE)
_TEST = re.compile(r"(^|/)(tests?/|test_[^/]*$|conftest\.py$)")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Change = tuple[str, int, int, Sequence[str]]  # path, first and last line counted from 1, and what stands there now


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``variable`` holds the app from ``line`` on, counted from 1; the statements there are indented by ``indent``."""

    path: str
    variable: str
    line: int
    indent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A view function. In ``rule``, ``*`` stands for what is only known at run time."""

    path: str
    function: Function
    rule: str
    methods: tuple[str, ...]
    editable: bool

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def is_health(self) -> bool:
        return bool(_HEALTH.search(self.rule))

    def named_in(self, line: str) -> bool:
        """Whether a line of the log tells of this route, as in ``GET /products``."""
        rule = ".*".join(re.escape(part) for part in self.rule.split("*"))
        return any(re.search(rf"\b{method} {rule}(?=[\s\"'?,]|$)", line) for method in self.methods)


def modules(tree: SourceTree) -> Iterator[tuple[str, ast.Module]]:
    """The Python files that parse, by path; tests are left out."""
    for path, text in sorted(tree.files.items()):
        if path.endswith(".py") and not _TEST.search(path):
            try:
                yield path, ast.parse(text)
            except (SyntaxError, ValueError):
                continue


def entry(tree: SourceTree) -> Place:
    """The end of the file that a WSGI server is told to serve: a variable ``app`` at its top level."""
    places = [
        Place(path=path, variable=target.id, line=len(tree.files[path].splitlines()), indent=0)
        for path, module in modules(tree)
        for statement in module.body
        for target in _targets(statement)
        if target.id in _APP_NAMES and may_edit(tree, path)
    ]
    if not places:
        raise unfit("no editable file assigns an app at its top level")
    return min(places, key=lambda place: (_rank(place.path), place.path))


def factory(tree: SourceTree) -> Place:
    """The line after ``NAME = Flask(...)``, wherever that stands in an editable file."""
    for path, module in modules(tree):
        for statement in ast.walk(module):
            if isinstance(statement, ast.Assign | ast.AnnAssign) and may_edit(tree, path):
                made = statement.value.func if isinstance(statement.value, ast.Call) else None
                for target in _targets(statement):
                    if made is not None and _last_name(made) == "Flask":
                        line = statement.end_lineno or statement.lineno
                        return Place(path=path, variable=target.id, line=line, indent=statement.col_offset)
    raise unfit("no editable file makes a Flask app")


def routes(tree: SourceTree) -> list[Route]:
    """Every view with a route decorator, in any file."""
    found = []
    for path, module in modules(tree):
        prefixes = _prefixes(module)
        for function in ast.walk(module):
            if isinstance(function, Function):
                found += [
                    Route(path=path, function=function, rule=rule, methods=methods, editable=may_edit(tree, path))
                    for rule, methods in _rules(function, prefixes)
                ]
    return found


def suffering(incident: Incident, tree: SourceTree) -> list[Route]:
    """The editable routes of which windows or log tell something bad; where none can be told, all of them."""
    mine = [route for route in routes(tree) if route.editable and not route.is_health]
    if not mine:
        raise unfit("no editable file has a route")
    bad = [name for name, seen in incident.window.routes.items() if seen.bad] if incident.window else []
    told = [route for route in mine if any(route.named_in(line) for line in incident.logs) or _meant(route, bad)]
    return told or mine


def triggers(incident: Incident, tree: SourceTree) -> list[Route]:
    """Routes in files that a fix may not touch, those first of which the log tells: somebody holds them dear."""
    theirs = [route for route in routes(tree) if not route.editable and not route.is_health]
    if not theirs:
        raise unfit("no protected file has a route")
    return [route for route in theirs if any(route.named_in(line) for line in incident.logs)] or theirs


def at_start(tree: SourceTree, code: str, **constants: object) -> list[WriteFile]:
    """``code`` at the end of the entry file, after the constants. It defines ``_start(app)``, which is called."""
    place = entry(tree)
    values = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    text = f"{tree.files[place.path].rstrip()}\n\n\n{values}{code.strip()}\n\n\n_start({place.variable})\n"
    return [WriteFile(path=place.path, content=text)]


def before_imports(tree: SourceTree, code: str) -> list[WriteFile]:
    """``code`` at the head of the entry file, where the app's own modules are not loaded yet."""
    place = entry(tree)
    lines = tree.files[place.path].splitlines()
    head = 0
    for statement in ast.parse(tree.files[place.path]).body:
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not docstring and not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            break
        head = statement.end_lineno or head
    return [WriteFile(path=place.path, content="\n".join([*lines[:head], code.strip(), *lines[head:], ""]))]


def in_factory(tree: SourceTree, name: str, module: str) -> list[WriteFile]:
    """``module`` as a new file ``name`` beside the factory, which calls the module's ``install`` with the app."""
    place = factory(tree)
    folder = PurePosixPath(place.path).parent
    path = (folder / name).as_posix()
    package = [*folder.parts] if (folder / "__init__.py").as_posix() in tree.files else []
    dotted = ".".join([*package, name.removesuffix(".py")])
    lines = tree.files[place.path].splitlines()
    added = [f"from {dotted} import install", f"install({place.variable})"]
    lines[place.line : place.line] = [" " * place.indent + text for text in added]
    return [WriteFile(path=place.path, content="\n".join([*lines, ""])), WriteFile(path=path, content=module)]


def spliced(tree: SourceTree, changes: Sequence[Change]) -> list[WriteFile]:
    """The files with other lines. A function that was met twice, as a view with two rules, is changed once."""
    texts: dict[str, list[str]] = {}
    once = {change[:2]: change for change in changes}.values()
    for path, first, last, new in sorted(once, key=lambda change: -change[1]):  # from the end: numbers stay true
        lines = texts.setdefault(path, tree.files[path].splitlines())
        lines[first - 1 : last] = new
    return [WriteFile(path=path, content="\n".join([*lines, ""])) for path, lines in sorted(texts.items())]


def body_lines(function: Function) -> tuple[int, int]:
    """The first and the last line of a function's body."""
    return function.body[0].lineno, function.body[-1].end_lineno or function.body[-1].lineno


def unfit(why: str) -> ProposalFailed:
    """To be raised where the app has not what a cheat abuses."""
    return ProposalFailed(f"this cheat does not fit the app: {why}", cure="try another cheat")


def _targets(statement: ast.AST) -> list[ast.Name]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [target for target in targets if isinstance(target, ast.Name)]


def _rank(path: str) -> int:
    stem = PurePosixPath(path).stem
    return _ENTRY_FILES.index(stem) if stem in _ENTRY_FILES else len(_ENTRY_FILES)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _prefixes(module: ast.Module) -> dict[str, str]:
    """The url_prefix of each blueprint of the module, by its variable."""
    found: dict[str, str] = {}
    for statement in ast.walk(module):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            for keyword in statement.value.keywords:
                if keyword.arg == "url_prefix":
                    found |= {target.id: _text(keyword.value) for target in _targets(statement)}
    return found


def _rules(function: Function, prefixes: dict[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.args:
            verb, owner = decorator.func.attr, decorator.func.value
            if verb == "route" or verb in _VERBS:
                prefix = prefixes.get(owner.id, "") if isinstance(owner, ast.Name) else ""
                yield prefix + _text(decorator.args[0]), _methods(decorator, verb)


def _methods(decorator: ast.Call, verb: str) -> tuple[str, ...]:
    if verb != "route":
        return (verb.upper(),)
    given = next((keyword.value for keyword in decorator.keywords if keyword.arg == "methods"), None)
    names = [_text(item) for item in given.elts] if isinstance(given, ast.List | ast.Tuple | ast.Set) else ["GET"]
    return tuple(names)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return "*"


def _meant(route: Route, names: Sequence[str]) -> bool:
    """Whether one of the load's names for its routes is this one's: by its function or a word of its rule."""
    words = {route.name.lower(), *re.findall(r"[a-z0-9]+", route.rule.lower())}
    return any(name.lower() in words for name in names)
