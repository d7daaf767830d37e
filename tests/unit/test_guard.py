"""The guard: what a fix may touch, and everything that must bounce off it."""

from __future__ import annotations

import pytest

from harness.errors import FixRefused
from harness.fixing import guard
from harness.model import globs
from harness.model.fix import DeleteFile, Edit, Fix, ReplaceText, WriteFile
from harness.model.source import SourceTree

TREE = SourceTree(
    files={
        "shop/views.py": "def browse():\n    return 1\n",
        "shop/health.py": "def health():\n    return 'ok'\n",
        "shop/orders/cart.py": "total = 0\ntotal = 0\n",
        "shop/windows.py": "a = 1\r\nb = 2\r\n",
        "shop/mixed.py": "a = 1\r\nb = 2\n",
        "shop/old.txt": "bye\n",
        "tests/test_views.py": "assert True\n",
        "README.md": "read me\n",
    },
    commit="c0ffee",
    editable=("shop/**", "conf/*.toml"),
    protected=("shop/health.py", "**/secret*", "shop/migrations"),
)


def apply(*edits: Edit, tree: SourceTree = TREE) -> SourceTree:
    return guard.apply(tree, Fix(root_cause="because", edits=edits))


def refusal(*edits: Edit, tree: SourceTree = TREE) -> FixRefused:
    with pytest.raises(FixRefused) as caught:
        apply(*edits, tree=tree)
    assert caught.value.cure, "a refusal tells the fixer what to do"
    return caught.value


def write(path: str, content: str = "x = 1\n") -> WriteFile:
    return WriteFile(path=path, content=content)


# globs


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("**", "a", True),
        ("**", "a/b/c.py", True),
        ("*", "a.py", True),
        ("*", "a/b.py", False),
        ("*.py", "a/b.py", False),
        ("**/*.py", "b.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("shop/**", "shop/a/b.py", True),
        ("shop/**", "shop", False),
        ("shop/**", "workshop/a.py", False),
        ("shop/", "shop/a/b.py", True),
        ("shop/**/views.py", "shop/views.py", True),
        ("shop/**/views.py", "shop/a/b/views.py", True),
        ("shop/**/views.py", "shop/reviews.py", False),
        ("x**/y", "xy", False),
        ("x**/y", "xa/b/y", True),
        ("a?.py", "ab.py", True),
        ("a?c", "a/c", False),
        ("a.py", "aXpy", False),
        ("[ab].py", "a.py", False),
        ("[ab].py", "[ab].py", True),
        ("a+(b)|c$", "a+(b)|c$", True),
        ("", "a", False),
    ],
)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert globs.matches([glob], path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("shop/views.py", True),
        ("shop/new/deep.py", True),
        ("conf/a.toml", True),
        ("conf/a/b.toml", False),
        ("README.md", False),
        ("tests/test_views.py", False),
        ("shop/health.py", False),
        ("shop/secrets.py", False),
        ("shop/secret/plain.py", False),
        ("shop/migrations", False),
        ("shop/migrations/0001.py", False),
        ("../shop/views.py", False),
    ],
)
def test_may_edit_takes_editable_paths_and_protected_wins(path: str, expected: bool) -> None:
    assert guard.may_edit(TREE, path) is expected


# paths

BAD_PATHS = [
    "",
    "/",
    "/etc/passwd",
    "//host/share",
    ".",
    "..",
    "./shop/views.py",
    "../shop/views.py",
    "shop/../shop/views.py",
    "shop/..",
    "shop/./views.py",
    "shop//views.py",
    "shop/views.py/",
    "shop\\views.py",
    "shop\\..\\..\\x.py",
    "C:/shop/x.py",
    "shop/x.py:stream",
    ":(exclude)shop/x.py",
    "-shop/x.py",
    "shop/x\0.py",
    "shop/x\n.py",
    "shop/x\r.py",
    "shop/x\x1b[2J.py",
    "shop/x\x7f.py",
    "shop/x\u200b.py",  # zero-width space
    "shop/\u202eyp.x",  # right-to-left override
    "shop/\ufeffx.py",
    "shop/x\u00a0.py",  # no-break space
    "shop/x\ud800.py",  # lone surrogate
    "shop/cafe\u0301.py",  # not NFC
    "shop/ x.py",
    "shop/x.py ",
    "shop/x.py.",
    "shop /x.py",
    "shop/.../x.py",
    "shop/x?.py",
    "shop/*.py",
    'shop/".py',
    "shop/<x>.py",
    "shop/a|b.py",
    ".git/hooks/pre-commit",
    "shop/.git/config",
    "shop/.GIT/config",
    "shop/.gIt",
    "shop/GIT~1/config",
    "shop/.\uff27it/config",  # full-width G
    "shop/.gitattributes",
    "shop/.gitignore",
    "shop/.gitmodules",
    "shop/" + "a" * 196,
    "shop/" + "\u00e9" * 100,  # 105 characters, 205 bytes
    "shop/" + "a/" * 120 + "x.py",
    "SHOP/views.py",
    "Shop/new.py",
    "shop/Views.py",
    "shop/VIEWS.PY",
    "shop/Orders/new.py",
    "shop/orders",  # a folder
    "shop/views.py/x.py",  # below a file
    "shop/\uff56iews.py",  # full-width v
    "\uff53hop/new.py",
    "shop/view\u017f.py",  # long s
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_tricks_with_paths_are_refused(path: str) -> None:
    tree = SourceTree(files=TREE.files, editable=("**",))
    assert not guard.may_edit(tree, path)
    assert refusal(write(path), tree=tree).rule == "path"


@pytest.mark.parametrize("path", ["shop/\u00e9.py", "shop/" + "a" * 195, "shop/.env.example", "shop/a b.py", "~"])
def test_unusual_but_plain_paths_pass(path: str) -> None:
    tree = SourceTree(files=TREE.files, editable=("**",))
    assert apply(write(path), tree=tree).files[path] == "x = 1\n"


def test_a_refusal_of_a_path_can_be_printed_anywhere() -> None:
    message = str(refusal(write("shop/\ud800\x1b[2J\u202e.py")))
    assert message.isascii()
    assert "\x1b" not in message


@pytest.mark.parametrize(
    "path",
    [
        "shop/health.py",
        "shop/secret.py",
        "shop/secret/x.py",
        "shop/SECRET.py",
        "shop/\uff53ecret.py",
        "shop/\u017fecret.py",
        "shop/migrations/1.py",
        "tests/a.py",
        "setup.py",
    ],
)
@pytest.mark.parametrize("kind", ["write", "delete", "replace"])
def test_what_is_not_editable_or_is_protected_is_refused(path: str, kind: str) -> None:
    edits: dict[str, Edit] = {
        "write": write(path),
        "delete": DeleteFile(path=path),
        "replace": ReplaceText(path=path, search="a", replace="b"),
    }
    assert refusal(edits[kind]).rule == "protected"


def test_a_package_cannot_take_the_place_of_a_protected_module() -> None:
    """Python imports shop/health/__init__.py rather than shop/health.py."""
    assert refusal(write("shop/health/__init__.py")).rule == "protected"
    assert apply(write("shop/views/__init__.py")).files["shop/views/__init__.py"]


def test_a_module_cannot_take_the_place_of_a_protected_folder() -> None:
    """Python imports shop/jobs.py rather than a folder shop/jobs that has no __init__.py."""
    tree = SourceTree(files={"shop/jobs/paid.py": "", "shop/views/a.py": ""}, protected=("shop/*/paid.py",))
    assert refusal(write("shop/jobs.py"), tree=tree).rule == "protected"
    assert apply(write("shop/views.py"), tree=tree).files["shop/views.py"]


def test_one_bad_edit_refuses_the_whole_fix() -> None:
    assert refusal(write("shop/views.py"), write("tests/test_views.py")).rule == "protected"


# edits


def test_the_edits_apply_in_order_and_the_tree_is_left_alone() -> None:
    before = dict(TREE.files)
    after = apply(
        write("shop/new.py", "a = 1\n"),
        ReplaceText(path="shop/new.py", search="1", replace="2"),
        ReplaceText(path="shop/new.py", search="2", replace="3"),
        DeleteFile(path="shop/old.txt"),
        ReplaceText(path="shop/views.py", search="return 1", replace="return 2"),
    )
    assert after.files["shop/new.py"] == "a = 3\n"
    assert "shop/old.txt" not in after.files
    assert after.files["shop/views.py"] == "def browse():\n    return 2\n"
    assert (after.editable, after.protected, after.commit) == (TREE.editable, TREE.protected, "")
    assert TREE.files == before


def test_overlapping_edits_fail_on_the_second() -> None:
    first = ReplaceText(
        path="shop/views.py", search="def browse():\n    return 1", replace="def browse():\n    return 2"
    )
    second = ReplaceText(path="shop/views.py", search="return 1\n", replace="return 3\n")
    assert apply(first).files["shop/views.py"].endswith("2\n")
    assert refusal(first, second).rule == "search"


@pytest.mark.parametrize("search", ["", "not there", "total = 0", "total = 0\n", "DEF"])
def test_a_search_must_occur_exactly_once(search: str) -> None:
    assert refusal(ReplaceText(path="shop/orders/cart.py", search=search, replace="y")).rule == "search"


def test_overlapping_occurrences_count_as_several() -> None:
    tree = SourceTree(files={"a.txt": "aaa"})
    assert refusal(ReplaceText(path="a.txt", search="aa", replace="b"), tree=tree).rule == "search"


def test_a_search_with_lf_finds_lines_with_crlf_and_keeps_them() -> None:
    edit = ReplaceText(path="shop/windows.py", search="a = 1\nb", replace="a = 3\nc = 4\r\nb")
    assert apply(edit).files["shop/windows.py"] == "a = 3\r\nc = 4\r\nb = 2\r\n"
    exact = ReplaceText(path="shop/windows.py", search="1\r\n", replace="5\r\n")
    assert apply(exact).files["shop/windows.py"] == "a = 5\r\nb = 2\r\n"


def test_in_a_file_of_mixed_line_ends_a_search_is_exact() -> None:
    assert refusal(ReplaceText(path="shop/mixed.py", search="1\nb", replace="2\nb")).rule == "search"
    assert apply(ReplaceText(path="shop/mixed.py", search="1\r\nb", replace="9\nb")).files["shop/mixed.py"][4] == "9"


@pytest.mark.parametrize(
    "edit", [DeleteFile(path="shop/gone.py"), ReplaceText(path="shop/gone.py", search="a", replace="b")]
)
def test_only_files_that_exist_are_deleted_or_searched(edit: Edit) -> None:
    assert refusal(edit).rule == "missing"


def test_a_file_deleted_before_is_gone_for_later_edits() -> None:
    gone = DeleteFile(path="shop/old.txt")
    assert refusal(gone, gone).rule == "missing"
    assert apply(gone, write("shop/old.txt/now_a_folder.py")).files["shop/old.txt/now_a_folder.py"]


@pytest.mark.parametrize(
    "edits",
    [
        (),
        (write("shop/views.py", TREE.files["shop/views.py"]),),
        (ReplaceText(path="shop/views.py", search="1", replace="1"),),
        (
            ReplaceText(path="shop/views.py", search="1", replace="2"),
            ReplaceText(path="shop/views.py", search="2", replace="1"),
        ),
        (write("shop/new.py"), DeleteFile(path="shop/new.py")),
    ],
)
def test_a_fix_that_changes_nothing_is_refused(edits: tuple[Edit, ...]) -> None:
    assert refusal(*edits).rule == "empty"


# size


def test_the_bounds_hold_to_the_byte() -> None:
    files = [write(f"shop/n{number}.py") for number in range(guard.MAX_FILES)]
    assert len(apply(*files).files) == len(TREE.files) + guard.MAX_FILES
    assert refusal(*files, write("shop/more.py")).rule == "size"

    whole = "\u00e9" * (guard.MAX_FILE_BYTES // 2)
    assert apply(write("shop/big.txt", whole)).files["shop/big.txt"] == whole
    assert refusal(write("shop/big.txt", whole + "x")).rule == "size"

    edit = ReplaceText(path="shop/views.py", search="1", replace="1")
    assert refusal(*[edit] * guard.MAX_EDITS).rule == "empty"
    assert refusal(*[edit] * (guard.MAX_EDITS + 1)).rule == "size"


def test_all_edits_together_are_bounded_whatever_they_hold() -> None:
    half = "x" * (guard.MAX_FIX_BYTES // 2)
    assert refusal(ReplaceText(path="shop/views.py", search=half, replace=half)).rule == "size"
    third = "x" * (guard.MAX_FIX_BYTES // 3)
    assert refusal(*[write("shop/a.txt", third)] * 3).rule == "size"


def test_many_small_edits_cannot_grow_a_file_over_its_bound() -> None:
    grow = [ReplaceText(path="shop/a.txt", search=f"<{n}>", replace="x" * 60_000 + f"<{n + 1}>") for n in range(4)]
    assert refusal(write("shop/a.txt", "<0>"), *grow).rule == "size"


# content


@pytest.mark.parametrize(
    "content", ["def (:\n", "  x = 1\n y = 2\n", "print 'a'\n", "return\n", "# coding: nope\n", "'"]
)
def test_python_must_compile(content: str) -> None:
    error = refusal(write("shop/views.py", content))
    assert error.rule == "syntax"
    assert "shop/views.py" in error.message


@pytest.mark.parametrize("content", ["x = " + "-" * 100_000 + "1", "x = " + "1+" * 90_000 + "1", "(" * 5_000])
def test_python_that_is_nested_too_deeply_is_refused_not_a_crash(content: str) -> None:
    assert refusal(write("shop/views.py", content)).rule == "syntax"


def test_python_that_only_warns_passes() -> None:
    """Warnings are errors in this test run, so this fails unless the guard silences them."""
    assert apply(write("shop/views.py", "x = '\\d'\nassert (x, 'always true')\n"))


def test_the_python_check_reads_what_the_interpreter_will_read() -> None:
    assert refusal(write("shop/views.py", "# coding: utf-7\nx = 1\n")).rule == "encoding"
    for name in ("utf-8", "utf8", "UTF-8"):
        assert apply(write("shop/views.py", f"# -*- coding: {name} -*-\nx = 'é'\n"))


def test_nothing_of_the_fix_runs() -> None:
    assert apply(write("shop/views.py", "raise SystemExit('ran')\n"))


def test_what_is_not_python_need_not_compile() -> None:
    assert apply(write("conf/a.toml", "def (:"))


@pytest.mark.parametrize("content", ["x = '\ud800'", "\udcff", "a\0b"])
@pytest.mark.parametrize("path", ["shop/views.py", "shop/old.txt"])
def test_text_must_be_encodable(path: str, content: str) -> None:
    assert refusal(write(path, content)).rule == "encoding"


def test_a_deleted_file_is_not_checked_for_its_content() -> None:
    assert apply(write("shop/old.py", "def (:"), DeleteFile(path="shop/old.py"), write("shop/b.py"))
