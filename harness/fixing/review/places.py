"""Files and variables: what is written, and what is read that is none of the app's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Module, keyword, last_name, source
from harness.model.fix import Severity

_WRITES = frozenset({"write_text", "write_bytes", "symlink_to", "hardlink_to"})
_PATH_WRITES = frozenset({"unlink", "rmdir", "mkdir", "touch", "rename", "chmod", "lchmod"})
_OUTSIDE = re.compile(
    r"/(proc|sys|dev|etc)(/.*)?|/(home|root|tmp|var|usr|opt|mnt|srv|run|boot|lib)/.+|~/.*|(.*/)?\.\./.*|.*/\.\.",
    re.DOTALL,
)
_CREDENTIAL = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)


def files_and_variables(change: Change) -> Iterator[Finding]:
    """More of file-write and reads-outside, where the name of what is called does not tell it all."""
    for detect in (_opened, _environment, _own_place):
        yield from change.added(detect)
    yield from _credentials(change)


def _opened(module: Module) -> Iterator[Finding]:
    uses_paths = bool({"pathlib", "os", "glob"} & {origin.split(".")[0] for origin in module.origins.values()})
    for call in module.of(ast.Call):
        origin, name = module.origin(call.func), last_name(call.func)
        if origin in ("open", "io.open", "codecs.open") or (name == "open" and uses_paths and call.args):
            yield from _open(call, module, 1 if origin in ("open", "io.open", "codecs.open") else 0)
        elif name in _WRITES or (name in _PATH_WRITES and uses_paths and isinstance(call.func, ast.Attribute)):
            yield found("file-write", "veto", module, call, f"{source(call, 80)} changes files")
    for text, value in module.texts():
        if _OUTSIDE.fullmatch(value):
            in_memory = isinstance(module.parents[text], ast.Assign) and value == "/dev/shm"  # noqa: S108 - gunicorn's
            severity: Severity = "warning" if in_memory else "veto"
            yield found("reads-outside", severity, module, text, f"{value[:80]!r} lies outside the app's folder")


def _open(call: ast.Call, module: Module, place: int) -> Iterator[Finding]:
    given = keyword(call, "mode") or (call.args[place] if len(call.args) > place else None)
    mode = given.value if isinstance(given, ast.Constant) else "r" if given is None else "?"
    if not isinstance(mode, str) or set(mode) - set("rbt"):
        yield found("file-write", "veto", module, call, f"{source(call, 80)} may change a file")
    elif place and not (call.args and isinstance(call.args[0], ast.Constant)):
        yield found(
            "reads-outside", "warning", module, call, f"{source(call, 80)} reads a file whose name is not written here"
        )


def _environment(module: Module) -> Iterator[Finding]:
    """All variables at once, and changes of them."""
    for node, origin in module.references():
        parent = module.parents[node]
        if (origin == "os.environ" and not _by_name(node, parent)) or origin in (
            "os.environ.items",
            "os.environ.values",
            "os.environ.keys",
            "os.environ.copy",
            "os.environb",
        ):
            yield found("reads-outside", "veto", module, node, "the whole environment is read")
        changed = isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load)
        if origin in ("os.putenv", "os.environ.update", "os.environ.setdefault") or (
            origin == "os.environ" and changed
        ):
            yield found("reads-outside", "warning", module, node, "the environment is changed")


def _by_name(node: ast.expr, parent: ast.AST) -> bool:
    return isinstance(parent, ast.Compare) or (isinstance(parent, ast.Subscript) and parent.value is node)


def _credentials(change: Change) -> Iterator[Finding]:
    """Variables named like keys that no file of the app has mentioned before."""
    for finding in change.added(_secret_variables):
        name = finding.evidence.casefold()
        if not any(name in text.casefold() for text in change.old.files.values()):
            yield finding


def _secret_variables(module: Module) -> Iterator[Finding]:
    for text, value in module.texts():
        parent = module.parents[text]
        reads = isinstance(parent, ast.Call) and module.origin(parent.func) in (
            "os.getenv",
            "os.environ.get",
            "os.environ.pop",
        )
        reads = reads or (isinstance(parent, ast.Subscript) and module.origin(parent.value) == "os.environ")
        if reads and _CREDENTIAL.search(value):
            message = f"the variable {value} is none that the app has used"
            yield found("reads-outside", "veto", module, text, message, value)


def _own_place(module: Module) -> Iterator[Finding]:
    """From the file's own place upwards: ``Path(__file__).parents[2]``."""
    for name in module.of(ast.Name):
        if name.id != "__file__":
            continue
        statement = next(each for each in (name, *module.ancestors(name)) if isinstance(each, ast.stmt))
        steps = [last_name(each) for each in ast.walk(statement) if isinstance(each, ast.Attribute)]
        up = steps.count("parent") + steps.count("dirname") > 1 or "parents" in steps
        if up:
            yield found("reads-outside", "veto", module, name, "the path leads out of the file's own folder")
