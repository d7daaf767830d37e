"""What a fix may touch. Pure: a source tree and a fix go in, the new tree or a refusal comes out.

A fix is data from outside, so all that is not plainly allowed is refused, with a cure that the fixer can be told.
"""

from __future__ import annotations

import codecs
import io
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from typing import Final, Literal

from harness.errors import FixRefused
from harness.model.fix import DeleteFile, Edit, Fix, ReplaceText, WriteFile
from harness.model.globs import matches
from harness.model.source import SourceTree

MAX_FILES: Final = 20
MAX_EDITS: Final = 200
MAX_FILE_BYTES: Final = 200_000
MAX_FIX_BYTES: Final = 500_000
MAX_PATH_BYTES: Final = 200

Rule = Literal["path", "protected", "size", "missing", "search", "encoding", "syntax", "empty"]

_UNPORTABLE: Final = frozenset('\\:*?"<>|')
_GIT_OWN: Final = frozenset({".git", ".gitattributes", ".gitignore", ".gitmodules", "git~1"})


def may_edit(tree: SourceTree, path: str) -> bool:
    """Whether a fix may write, change or delete ``path``: a well-formed path, editable, and not protected.

    Globs: ``**`` crosses folders, ``*`` and ``?`` stay within one, all else is literal. Protected wins; a protected
    glob also covers everything below a folder that it matches, and does not care about upper and lower case. A package
    that would take a protected module's place is protected too, and so is a module in a protected folder's place.
    """
    try:
        _check_path(path, tree.files)
        _check_permission(tree, path)
    except FixRefused:
        return False
    return True


def apply(tree: SourceTree, fix: Fix) -> SourceTree:
    """The tree after the edits, in their order; ``tree`` stays as it is.

    A ``ReplaceText`` matches exactly and must match once. In a file whose every line ends in CRLF, a search without
    any CR is read as if it had CRLF too, and so is its replacement: models write LF. ``WriteFile`` is taken as it is.

    Raises FixRefused; its ``rule`` is one of ``Rule``.
    """
    _check_bounds(fix)
    files = dict(tree.files)
    for edit in fix.edits:
        _check_path(edit.path, files)
        _check_permission(tree, edit.path)
        _edit(files, edit)
    if files == dict(tree.files):
        raise _refused("empty", "the fix changes nothing", "Propose edits that change the code, or abstain.")
    for path in sorted({edit.path for edit in fix.edits} & files.keys()):
        _check_content(path, files[path])
    return tree.with_files(files)


def _refused(rule: Rule, message: str, cure: str) -> FixRefused:
    return FixRefused(message, rule=rule, cure=cure)


def _check_bounds(fix: Fix) -> None:
    if len(fix.edits) > MAX_EDITS:
        raise _refused("size", f"the fix has {len(fix.edits)} edits", f"Use at most {MAX_EDITS} edits.")
    count = len({edit.path for edit in fix.edits})
    if count > MAX_FILES:
        raise _refused("size", f"the fix touches {count} files", f"Touch at most {MAX_FILES} files.")
    total = sum(len(text.encode("utf-8", "surrogatepass")) for edit in fix.edits for text in _texts(edit))
    if total > MAX_FIX_BYTES:
        raise _refused("size", f"the fix holds {total} bytes", f"Keep all edits together within {MAX_FIX_BYTES} bytes.")


def _texts(edit: Edit) -> tuple[str, ...]:
    match edit:
        case WriteFile():
            return (edit.path, edit.content)
        case ReplaceText():
            return (edit.path, edit.search, edit.replace)
        case DeleteFile():
            return (edit.path,)


def _check_path(path: str, files: Collection[str]) -> None:
    complaint = _complaint(path) or _collision(path, files)
    if complaint:
        cure = "Give a relative path with forward slashes, exactly as the file is listed, such as app/views.py."
        raise _refused("path", f"the path {path[:MAX_PATH_BYTES]!a} {complaint}", cure)


def _complaint(path: str) -> str:
    """What is wrong with the path's own form, or an empty string."""
    parts = path.split("/")
    if not path.isprintable():  # also lone surrogates, zero-width and direction-changing characters
        return "holds a character that cannot be printed"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode's normal form NFC"
    if _UNPORTABLE & set(path) or path.startswith("-"):
        return "holds a character that is not allowed in a path"
    if any(part in ("", ".", "..") for part in parts):
        return "is not a plain relative path"
    if any(part != part.strip() or part.endswith(".") for part in parts):
        return "has a part that begins or ends in a space or ends in a dot"
    if any(_folded(part) in _GIT_OWN for part in parts):
        return "belongs to git"
    return ""


def _folded(path: str) -> str:
    """The same for names that a file system or a reader could take for one: by case, or letters of another width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _collision(path: str, files: Collection[str]) -> str:
    """How a path that is not among the files clashes with them, or an empty string."""
    if path in files:
        return ""
    ours = {_folded(prefix): prefix for prefix in _prefixes(path)}
    for other in files:
        if other.startswith(f"{path}/"):
            return "is a folder"
        if path.startswith(f"{other}/"):
            return f"lies below {other!r}, which is a file"
        for prefix in _prefixes(other):
            if ours.get(_folded(prefix), prefix) != prefix:
                return f"differs only in case or in look-alike letters from {prefix!r}"
    return ""


def _prefixes(path: str) -> Iterator[str]:
    """The path's folders from the top, then the path: ``a``, ``a/b``, ``a/b/c.py``."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def _check_permission(tree: SourceTree, path: str) -> None:
    cure = "Leave protected files as they are and mend the cause in an editable file."
    for prefix in (*_prefixes(path), *_prefixes(_folded(path))):
        if matches(tree.protected, prefix, ignore_case=True):
            raise _refused("protected", f"{path} is protected", cure)
        module = f"{prefix}.py"  # Python imports the folder app/x in place of the module app/x.py
        if module in tree.files and matches(tree.protected, module, ignore_case=True):
            raise _refused("protected", f"{path} would hide {module}, which is protected", cure)
    inside = f"{path.removesuffix('.py')}/"  # and the module app/x.py in place of a folder app/x without __init__.py
    if path not in tree.files and path.endswith(".py"):
        for name in tree.files:
            if name.startswith(inside) and matches(tree.protected, name, ignore_case=True):
                raise _refused("protected", f"{path} would hide {name}, which is protected", cure)
    if not matches(tree.editable, path):
        cure = f"Edit only files that match one of: {', '.join(tree.editable) or '(none)'}."
        raise _refused("protected", f"{path} is not among the editable files", cure)


def _edit(files: dict[str, str], edit: Edit) -> None:
    if not isinstance(edit, WriteFile) and edit.path not in files:
        cure = "Name a file that exists, or create it by writing its whole content."
        raise _refused("missing", f"{edit.path} does not exist", cure)
    match edit:
        case WriteFile():
            files[edit.path] = edit.content
        case ReplaceText():
            files[edit.path] = _replaced(files[edit.path], edit)
        case DeleteFile():
            del files[edit.path]


def _replaced(content: str, edit: ReplaceText) -> str:
    search, replace = edit.search, edit.replace
    if "\r" not in search and "\r\n" in content and content.count("\n") == content.count("\r\n"):
        search = search.replace("\n", "\r\n")
        replace = re.sub(r"\r?\n", "\r\n", replace)
    if not search:
        cure = "Quote the text to replace, or write the whole file."
        raise _refused("search", f"the search text for {edit.path} is empty", cure)
    first = content.find(search)
    if first < 0:
        cure = "Copy the search text from the file letter by letter, white space included; earlier edits count."
        raise _refused("search", f"the search text does not occur in {edit.path}", cure)
    if content.find(search, first + 1) >= 0:  # str.count would miss occurrences that overlap
        cure = "Quote more of the lines around it, so that it occurs exactly once."
        raise _refused("search", f"the search text occurs more than once in {edit.path}", cure)
    return content[:first] + replace + content[first + len(search) :]


def _check_content(path: str, content: str) -> None:
    try:
        raw = content.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"{path} holds a character that UTF-8 cannot encode, at position {error.start}"
        raise _refused("encoding", message, "Write well-formed Unicode text.") from error
    if "\0" in content:
        raise _refused("encoding", f"{path} holds a NUL character", "Write text files only.")
    if len(raw) > MAX_FILE_BYTES:
        cure = f"Keep every file within {MAX_FILE_BYTES} bytes."
        raise _refused("size", f"{path} would have {len(raw)} bytes", cure)
    if path.casefold().endswith((".py", ".pyi")):
        _check_python(path, raw)


def _check_python(path: str, raw: bytes) -> None:
    """Compile what Python would read from disk. Nothing of it runs."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        if codecs.lookup(encoding).name not in (
            "utf-8",
            "utf-8-sig",
        ):  # a reviewer would read other code than Python does
            raise _refused("encoding", f"{path} declares the encoding {encoding}", "Remove the coding line: use UTF-8.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(raw, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        message = f"{path} is not valid Python: line {error.lineno or '?'}: {error.msg}"
        raise _refused("syntax", message, "Send Python that compiles; check quotes and indentation.") from error
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        message = f"{path} cannot be compiled: {type(error).__name__}: {error}"
        raise _refused("syntax", message, "Send plain, not deeply nested Python.") from error
