"""Code that reaches out of the app's own process and folder, or hides what it does until it runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Module, source
from harness.model.fix import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    rule: str
    severity: Severity
    what: str  # said in the message after the name
    names: re.Pattern[str]  # of an origin, or of its beginning up to a dot


def _names(*alternatives: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(alternatives)})(?:[.].*)?")


_REACHES = (  # the first that fits counts
    _Reach(
        rule="new-subprocess",
        severity="veto",
        what="starts or ends processes, or leaves Python",
        names=_names(
            "subprocess|multiprocessing|pty|ctypes|cffi|_posixsubprocess|_winapi|pexpect|psutil",
            r"os\.(?:system|popen|fork|forkpty|exec\w+|spawn\w+|posix_spawnp?|kill|killpg|abort|_exit|setsid|setpgrp|nice)",
            r"(?:posix|nt|commands|popen2)",
            r"asyncio\.(?:create_subprocess_\w+|subprocess)|concurrent\.futures\.(?:ProcessPoolExecutor|process)",
        ),
    ),
    _Reach(
        rule="eval",
        severity="veto",
        what="runs or finds code that can't be read here",
        names=_names(
            "eval|exec|compile|__import__|globals|locals|breakpoint|__builtins__|builtins",
            "importlib|imp|pkgutil|runpy|code|codeop|zipimport|pickle|marshal|shelve|dill|cloudpickle|joblib",
            r"sys\.(?:modules|meta_path|path|path_hooks|_getframe|settrace|setprofile|addaudithook|_current_frames)",
            r"types\.(?:CodeType|FunctionType|ModuleType)|inspect\.(?:currentframe|stack)|operator\.(?:attrgetter|methodcaller)",
            r"gc\.get_\w+|threading\.(?:settrace|setprofile)|unittest\.mock|weakref\.getweakrefs",
        ),
    ),
    _Reach(
        rule="new-network",
        severity="veto",
        what="opens connections of its own",
        names=_names(
            r"socket(?!\.(?:timeout|error|gaierror|herror|[A-Z][A-Z0-9_]+)$)",
            "socketserver|_socket|ftplib|smtplib|imaplib|poplib|telnetlib|nntplib|xmlrpc|paramiko|dns|websocket|websockets|pycurl|grpc",
            r"urllib\.request|urllib3|http\.client|http\.server|wsgiref\.simple_server|webbrowser",
            r"asyncio\.(?:open_connection|start_server|open_unix_connection)|ssl\.wrap_socket",
        ),
    ),
    _Reach(rule="background", severity="veto", what="ignores the order to stop", names=_names(r"signal\.SIG_IGN")),
    _Reach(
        rule="background",
        severity="warning",
        what="goes on beside the requests",
        names=_names(
            r"threading\.(?:Thread|Timer)|_thread|atexit|signal|sched|apscheduler|gevent|greenlet|eventlet",
            r"asyncio\.(?:run|new_event_loop|get_event_loop|create_task|ensure_future)|os\.register_at_fork",
        ),
    ),
    _Reach(
        rule="file-write",
        severity="veto",
        what="changes files",
        names=_names(
            r"os\.(?:remove|unlink|rename|renames|replace|symlink|link|l?chmod|l?chown|mkdir|makedirs|rmdir|removedirs"
            r"|truncate|ftruncate|mkfifo|mknod|open|fdopen|write|pwrite|utime|setxattr|umask|chroot|mount)",
            r"shutil(?!\.(?:which|disk_usage|get_terminal_size))|sqlite3|dbm|mmap|fcntl",
            r"logging\.(?:FileHandler|handlers\.\w*FileHandler)",
        ),
    ),
    _Reach(rule="file-write", severity="warning", what="makes files in the temporary folder", names=_names("tempfile")),
    _Reach(
        rule="reads-outside",
        severity="veto",
        what="looks at the machine around the app",
        names=_names(
            r"os\.(?:chdir|fchdir|getppid|getcwd|getcwdb|getlogin|readlink|ptsname)|pwd|grp|spwd|getpass",
            r"os\.path\.(?:expanduser|expandvars)|pathlib\.Path\.(?:home|cwd)|linecache|fileinput",
        ),
    ),
    _Reach(
        rule="reads-outside",
        severity="warning",
        what="lists folders",
        names=_names(r"os\.(?:walk|fwalk|listdir|scandir)|glob"),
    ),
)
_DANGEROUS = frozenset({"os", "sys", "builtins", "posix", "socket", "subprocess", "importlib", "shutil", "ctypes"})
_INNARDS = frozenset(
    {"__globals__", "__subclasses__", "__code__", "__builtins__", "__import__", "__loader__", "__bases__", "__mro__"}
    | {"__closure__", "__getattribute__", "f_globals", "f_locals", "f_back", "gi_frame", "tb_frame", "__wrapped__"}
)
_HTTP_CALLS = re.compile(
    r"(httpx2?|requests|aiohttp)\.(get|post|put|patch|delete|head|options|request|stream|Client|AsyncClient|Session|session"
    r"|ClientSession|HTTPTransport|AsyncHTTPTransport)(\(\))?(\..*)?"
)


def reaching(change: Change) -> Iterator[Finding]:
    """The rules of one table: new-subprocess, eval, new-network, background, file-write, reads-outside."""
    for detect in (_reaches, _tricks):
        yield from change.added(detect)


def new_http(change: Change) -> Iterator[Finding]:
    """Requests over HTTP: a veto in an app that made none, and where the address is written into the code."""
    everywhere = "\n".join(text for path, text in change.old.files.items() if path.endswith(".py"))
    for finding in change.added(_http_calls):
        library = finding.message.partition(".")[0]
        if not re.search(rf"^\s*(import|from)\s+{library}\b", everywhere, re.MULTILINE):
            yield replace(finding, severity="veto", message=f"{finding.message}; the app made no such requests before")
        else:
            yield finding


def _reaches(module: Module) -> Iterator[Finding]:
    for node, origin in module.references():
        for reach in _REACHES:
            if reach.names.fullmatch(origin):
                yield found(
                    reach.rule,
                    reach.severity,
                    module,
                    node,
                    f"{origin} {reach.what}",
                    f"{module.scope(node)}: {origin}",
                )
                break
    for statement in module.of(ast.ImportFrom):
        name = statement.module or ""
        if any(each.name == "*" for each in statement.names) and name.split(".")[0] in _DANGEROUS:
            yield found("eval", "veto", module, statement, f"a star import of {name} hides what is used of it")


def _tricks(module: Module) -> Iterator[Finding]:
    """Ways to get at something by another name than its own."""
    for attribute in module.of(ast.Attribute):
        table = attribute.attr == "__dict__" and _is_import(attribute.value, module)
        if table or attribute.attr in _INNARDS:
            yield found(
                "eval", "veto", module, attribute, f"{attribute.attr} leads around the names that can be read here"
            )
    for name in module.of(ast.Name):
        if module.origins.get(name.id) in _DANGEROUS and not isinstance(module.parents[name], ast.Attribute):
            yield found("eval", "veto", module, name, f"the module {module.origins[name.id]} is passed on as a value")
    for call in module.of(ast.Call):
        if module.origin(call.func) in ("getattr", "vars") and call.args and _is_import(call.args[0], module):
            message = f"{source(call, 80)} leads around the names that can be read here"
            yield found("eval", "veto", module, call, message)


def _is_import(node: ast.expr, module: Module) -> bool:
    return isinstance(node, ast.Name) and node.id in module.imported


def _http_calls(module: Module) -> Iterator[Finding]:
    for node, origin in module.references():
        match = _HTTP_CALLS.fullmatch(origin)
        call = module.parents[node]
        if match is None or not isinstance(call, ast.Call) or call.func is not node:
            continue
        fixed = any(isinstance(each, ast.Constant) and "://" in str(each.value) for each in ast.walk(call))
        severity: Severity = "veto" if fixed else "warning"
        yield found(
            "new-network", severity, module, node, f"{origin} asks another service", f"{module.scope(node)}: {origin}"
        )
