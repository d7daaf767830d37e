"""Whatever a fix holds: it is refused with a rule and a cure, or what comes out is safe to write to disk."""

from __future__ import annotations

import os
import tempfile
import unicodedata
import warnings
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import FixRefused
from harness.fixing import guard
from harness.model.fix import DeleteFile, Edit, Fix, ReplaceText, WriteFile
from harness.model.source import SourceTree

FILES = {
    "shop/views.py": "def browse():\n    return 1\n",
    "shop/health.py": "def health():\n    return 'ok'\n",
    "shop/orders/cart.py": "total = 0\r\ntotal = 1\r\n",
    "shop/jobs/paid.py": "x = 1\n",
    "shop/\u00e9t\u00e9.py": "x = 1\n",
    "shop/old.txt": "bye\n",
    "tests/test_views.py": "assert True\n",
    "README.md": "read me\n",
}
PROTECTED = ("shop/health.py", "**/secret*", "shop/jobs", "tests/**", "README.md")
# the same by other means than the guard's: what a path may not be, whatever its letters, nor lie in
UNTOUCHABLE = ("shop/health.py", "shop/health", "shop/jobs", "shop/jobs.py", "tests", "tests.py", "readme.md")
GIT = {".git", ".gitattributes", ".gitignore", ".gitmodules", "git~1"}
TREES = st.sampled_from(
    [
        SourceTree(files=FILES, commit="c0ffee", editable=("shop/**", "conf/*.toml"), protected=PROTECTED),
        SourceTree(files=FILES, commit="c0ffee", editable=("**",), protected=PROTECTED),
    ]
)

TRICKS = st.sampled_from(
    [
        *("..", ".", "/", "//", "\\", "~", "-", ":", "*", "?", "%2e%2e", "\u2024\u2024", "\u2215", "\uff0f", "C:"),
        *(".git", ".GIT", "git~1", ".g\u200bit", ".\uff27it", ".gitattributes", ".git ", ".git.", "COM1", "nul"),
        *(
            "\0",
            "\n",
            "\r",
            "\x1b[2J",
            "\x7f",
            "\u200b",
            "\u202e",
            "\ufeff",
            "\u00a0",
            "\ud800",
            "\u0301",
            "\U000e0001",
        ),
        *(
            " ",
            ".",
            "...",
            ".py",
            ".py.",
            ".so",
            "__init__.py",
            "__pycache__",
            "a" * 90,
            "\u00e9" * 50,
            "\u0430",
            "\ufb01",
        ),
        *(
            "shop",
            "Shop",
            "\uff53hop",
            "\u017fhop",
            "views",
            "health",
            "HEALTH",
            "h\u0435alth",
            "secret",
            "jobs",
            "tests",
        ),
    ]
)
NORMAL_FORMS = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    path = draw(st.sampled_from([*FILES, "shop/new.py", "conf/a.toml", "shop/secret/x.py"]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(path)))
        match draw(st.sampled_from(["insert", "part", "cut", "case", "form", "below"])):
            case "insert":
                path = path[:at] + draw(TRICKS) + path[at:]
            case "part":
                parts = path.split("/")
                parts[draw(st.integers(0, len(parts) - 1))] = draw(TRICKS | st.text(max_size=4))
                path = "/".join(parts)
            case "cut":
                path = path[:at]
            case "case":
                path = path[:at] + path[at:].swapcase()
            case "form":
                path = unicodedata.normalize(draw(NORMAL_FORMS), path)
            case "below":
                path = f"{path}/{draw(TRICKS)}"
    return path


CODE = st.text(max_size=40) | st.sampled_from(
    [
        *("x = 1\n", "x = 2\r\n", "def (:\n", "# coding: utf8\nx = 1\n", "# coding: utf-7\nx = 1\n", "\ufeffx = 1\n"),
        *("x = '\ud800'\n", "x = 1\0\n", "\f\n", "x = 1\r", "raise SystemExit\n", "'\\d'\n", "x = 'é'\n", "0777\n"),
        *(
            "(" * 300,
            "{**" * 99,
            "-" * 9000 + "1",
            "x" * 200_001,
            "if x:\n\ty\n        z\n",
            "match x:\n case 1: pass\n",
        ),
    ]
)
SEARCHES = st.sampled_from(["return 1", "return", "total = 0\n", "total = 0\r\n", "x = 1", "x", "\n", "", "bye\n"])
EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.builds(WriteFile, path=paths(), content=CODE),
    st.builds(DeleteFile, path=paths()),
    st.builds(ReplaceText, path=paths(), search=SEARCHES | st.text(max_size=3), replace=CODE | st.text(max_size=5)),
)


def folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def guarded(tree: SourceTree, edits: list[Edit]) -> SourceTree | None:
    """The tree after the fix; None: refused, as a refusal has to be."""
    before = dict(tree.files)
    try:
        return guard.apply(tree, Fix(root_cause="because", edits=tuple(edits)))
    except FixRefused as refusal:
        assert refusal.rule in get_args(guard.Rule) and refusal.cure
        assert str(refusal).encode() and len(str(refusal)) < 1500
        assert all(line.isprintable() for line in str(refusal).splitlines()), repr(str(refusal))
        return None
    finally:
        assert dict(tree.files) == before, "the tree that went in is as it was"


def check_harmless(tree: SourceTree, after: SourceTree) -> None:
    changed = {path for path in {*tree.files, *after.files} if tree.files.get(path) != after.files.get(path)}
    assert 0 < len(changed) <= guard.MAX_FILES
    assert (after.editable, after.protected) == (tree.editable, tree.protected)
    for path in changed:
        assert "**" in tree.editable or path.startswith(("shop/", "conf/"))
        assert not f"{folded(path)}/".startswith(tuple(f"{name}/" for name in UNTOUCHABLE))
        assert "/secret" not in f"/{folded(path)}" and GIT.isdisjoint(folded(path).split("/"))
        if path in after.files:
            raw = after.files[path].encode("utf-8")
            assert b"\0" not in raw and len(raw) <= guard.MAX_FILE_BYTES
            if path.endswith(".py"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compile(raw, path, "exec", dont_inherit=True)
    assert len({folded(path) for path in after.files}) == len(after.files), "two names for one file"


def check_on_disk(after: SourceTree) -> None:
    """Each file can be written, to a place of its own below the folder, and nothing else comes to be."""
    with tempfile.TemporaryDirectory() as name:
        outer = Path(name).resolve()
        root = outer / "root"
        for path, content in after.files.items():
            file = root / path
            assert os.path.normpath(file) == str(file) and file.is_relative_to(root)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8", newline="")
        there = {file.relative_to(outer).as_posix() for file in outer.rglob("*") if file.is_file()}
        assert there == {f"root/{path}" for path in after.files}
        assert all((root / path).read_bytes() == content.encode() for path, content in after.files.items())


@given(tree=TREES, edits=st.lists(EDITS, max_size=6))
def test_a_fix_full_of_tricks(tree: SourceTree, edits: list[Edit]) -> None:
    after = guarded(tree, edits)
    if after is not None:
        check_harmless(tree, after)
        check_on_disk(after)


@given(tree=TREES, path=paths() | st.text())
def test_what_may_be_edited_is_what_can_be_written(tree: SourceTree, path: str) -> None:
    after = guarded(tree, [WriteFile(path=path, content="# new\nx = 1\n")])
    assert (after is not None) is guard.may_edit(tree, path)
    if after is not None:
        check_harmless(tree, after)
        check_on_disk(after)


LINES = st.text(alphabet="ab\r\n", max_size=12)


@given(content=LINES, edits=st.lists(st.tuples(LINES, LINES), max_size=4))
def test_overlapping_replacements_apply_in_turn_or_not_at_all(content: str, edits: list[tuple[str, str]]) -> None:
    tree = SourceTree(files={"a.txt": content})
    after = guarded(tree, [ReplaceText(path="a.txt", search=search, replace=new) for search, new in edits])
    if after is None:
        return
    expected = content
    for search, new in edits:
        if "\r" not in search and "\r\n" in expected and "\n" not in expected.replace("\r\n", ""):
            search, new = search.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
        assert search and sum(expected.startswith(search, at) for at in range(len(expected))) == 1
        expected = expected.replace(search, new)
    assert after.files["a.txt"] == expected != content


@given(
    count=st.sampled_from([1, 19, 20, 21, 199, 200, 201, 5000]),
    size=st.sampled_from([0, 2, 2_500, 24_999, 25_001, 199_999, 200_001, 600_000]),
    one=st.booleans(),
)
def test_a_huge_fix_is_refused_quickly(count: int, size: int, one: bool) -> None:
    content = "é" * (size // 2)
    edits: list[Edit] = [WriteFile(path=f"shop/n{0 if one else n}.txt", content=content) for n in range(count)]
    after = guarded(SourceTree(files=FILES), edits)
    total = sum(len(edit.path) for edit in edits) + count * 2 * len(content)
    fits = (
        count <= guard.MAX_EDITS
        and (one or count <= guard.MAX_FILES)
        and 2 * len(content) <= guard.MAX_FILE_BYTES
        and total <= guard.MAX_FIX_BYTES
    )
    assert (after is not None) is fits
