"""Every call of another service gets a time limit and goes through a circuit breaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.fixing.guard import may_edit
from harness.fixing.remedies.modules import editable_modules, names_of
from harness.fixing.remedies.packages import import_line, with_import
from harness.fixing.remedies.upstream_bounds import Bound, makes_requests
from harness.fixing.remedies.upstream_clients import Clients
from harness.model.fix import WriteFile
from harness.model.source import SourceTree

_TEMPLATE = Path(__file__).with_name("upstream_guard.py")


def bound_upstream_calls(tree: SourceTree, parameters: Mapping[str, str | int | float | bool]) -> list[WriteFile]:
    """``timeout_s`` for each phase of a call, ``failures`` in a row that open the circuit, ``cooldown_s`` to a probe.

    Pattern: calls through httpx, by its functions or by a client, and the making of clients.
    Change: a ``timeout`` that is missing, None or longer becomes ``timeout_s``; one that is known only at
    run time is limited to it. Each synchronous call goes through ``guarded``, from a small module that is
    added beside, with a circuit for each pair of calling function and called address. While a circuit is
    open, tenacity's retries in the tree stop, and ``time.sleep`` in a ``for`` loop around the call is skipped.
    Asynchronous and streamed calls get the time limit only. Where the module may not be added, all do.
    """
    timeout_s = float(parameters["timeout_s"])
    modules = dict(editable_modules(tree, "httpx"))
    shared = Clients()
    clients = {path: shared.in_module(module, names_of(module)) for path, module in modules.items()}
    calling = [path for path, module in modules.items() if makes_requests(module, clients[path], names_of(module))]
    guard = _guard_path(tree, calling)
    if guard:
        modules |= dict(editable_modules(tree, "tenacity"))
    edits, guarded = [], False
    for path, module in modules.items():
        bound = Bound(
            module, clients.get(path, shared), timeout_s=timeout_s, guard=PurePosixPath(guard).stem if guard else ""
        )
        changed = module.visit(bound)
        if bound.uses_guard:
            guarded = True
            changed = with_import(changed, import_line(tree, path, guard))
        if changed.code != tree.files[path]:
            edits.append(WriteFile(path=path, content=changed.code))
    return [*edits, WriteFile(path=guard, content=_guard_text(parameters))] if guarded else edits


def _guard_path(tree: SourceTree, calling: list[str]) -> str:
    """Beside the topmost module that calls, under a name that is free; empty where no file may be added."""
    if not calling:
        return ""
    folder = min((PurePosixPath(path).parent for path in calling), key=lambda each: (len(each.parts), str(each)))
    names = ("upstream_guard.py", "upstream_circuits.py", "upstream_calls_guard.py")
    free = [str(folder / name) for name in names if str(folder / name) not in tree.files]
    return next((path for path in free if may_edit(tree, path)), "")


def _guard_text(parameters: Mapping[str, str | int | float | bool]) -> str:
    values = {
        "FAILURES": max(1, int(parameters["failures"])),
        "COOLDOWN_S": float(parameters["cooldown_s"]),
        "TIMEOUT_S": float(parameters["timeout_s"]),
    }
    return re.sub(
        rf"^({'|'.join(values)}) = .+$",
        lambda line: f"{line[1]} = {values[line[1]]!r}",
        _TEMPLATE.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
