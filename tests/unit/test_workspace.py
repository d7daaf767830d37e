"""The app's code during a trial."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.errors import FixRefused, InputError
from harness.git import GitFailed, git
from harness.model.app import AppManifest
from harness.model.source import SourceTree
from harness.target.workspace import Workspace

MANIFEST = AppManifest.model_validate(
    {
        "name": "shop",
        "source": ["shop/**/*.py", "*.conf.py"],
        "editable": ["shop/**"],
        "protected": ["shop/faults.py"],
        "web": {"command": ["python", "-m", "gunicorn"]},
        "health": "/health",
    }
)
FILES = {
    "shop/app.py": b"one\ntwo\nthree\n",
    "shop/faults.py": b"ON = True\n",
    "shop/deep/er/words.py": "WORD = 'é'\n".encode(),
    "gunicorn.conf.py": b"workers = 2\n",
}
UNREADABLE = {
    "shop/latin.py": b"# caf\xe9\n",
    "shop/page.html": b"<p>",
    "data/table.bin": bytes(range(256)),
    "other.py": b"OTHER = 1\n",
}
LEFT_OUT = {
    "app.yml": b"name: shop\n",
    "README.md": b"# How to break it\n",
    "tests/test_shop.py": b"def test_it(): ...\n",
    "shop/tests/test_more.py": b"",
    ".env": b"SECRET=1\n",
    ".git/config": b"[core]\n",
    ".gitignore": b"*.py\n",
    "shop/__pycache__/app.cpython-311.pyc": b"",
    "shop.egg-info/PKG-INFO": b"",
}
PATCH = "--- a/shop/app.py\n+++ b/shop/app.py\n@@ -1,3 +1,3 @@\n one\n-two\n+weak\n three\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    for name, content in {**FILES, **UNREADABLE, **LEFT_OUT}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, app: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace", MANIFEST)
    made.create(app, None)
    return made


def texts(**changes: str) -> dict[str, str]:
    return {name: content.decode() for name, content in FILES.items()} | changes


def history(workspace: Workspace) -> list[str]:
    return git(workspace.folder, "log", "--all", "--topo-order", "--format=%s").splitlines()


def changed(tree: SourceTree, changes: dict[str, str | None]) -> SourceTree:
    files = {**tree.files, **changes}
    return tree.with_files({name: content for name, content in files.items() if content is not None})


# --- how it begins ---


def test_it_begins_with_one_commit_and_without_what_tells_the_answer(tmp_path: Path, app: Path) -> None:
    workspace = Workspace(tmp_path / "workspace", MANIFEST)
    (tmp_path / "pool_exhaustion.patch").write_text(PATCH)
    commit = workspace.create(app, tmp_path / "pool_exhaustion.patch")
    assert history(workspace) == ["Release of shop"] and workspace.head() == commit
    assert git(workspace.folder, "ls-files").split() == sorted([*FILES, *UNREADABLE])
    assert git(workspace.folder, "status", "--porcelain") == ""
    assert (workspace.folder / "shop/app.py").read_text() == "one\nweak\nthree\n"
    everything = b"".join(file.read_bytes() for file in workspace.folder.rglob("*") if file.is_file())
    assert b"pool_exhaustion" not in everything and b"SECRET" not in everything
    assert not list(workspace.folder.rglob("ORIG_HEAD")) and "two" not in git(workspace.folder, "log", "-p", "--all")


def test_the_users_own_hooks_and_settings_have_no_part_in_it(
    tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "post-checkout", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/touched\nexit 1\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "config").write_text(f"[init]\n\ttemplateDir = {hooks.parent}\n[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    workspace = Workspace(tmp_path / "workspace", MANIFEST)
    workspace.create(app, None)
    workspace.branch(changed(workspace.source(), {"shop/app.py": "x\n"}), "fix-1", "Attempt 1", tmp_path / "canary")
    workspace.drop(tmp_path / "canary")
    workspace.merge("fix-1")
    workspace.revert()
    assert not (tmp_path / "touched").exists()


def test_a_patch_that_does_not_fit_is_the_users_mistake(tmp_path: Path, app: Path) -> None:
    patch = tmp_path / "defect.patch"
    for content in (PATCH.replace("two", "zwei"), "no patch", "", PATCH.replace("shop/app.py", "../out.py")):
        patch.write_text(content)
        with pytest.raises(InputError, match=r"defect\.patch does not apply to the app") as caught:
            Workspace(tmp_path / f"workspace{len(content)}", MANIFEST).create(app, patch)
        assert "git diff --relative" in caught.value.cure
    assert not (tmp_path / "out.py").exists()


@pytest.mark.parametrize("content", [b"one\r\ntwo\r\nthree\r\n", b"one\ntwo\ncaf\xe9\n"])
def test_a_patch_is_taken_byte_by_byte(tmp_path: Path, app: Path, content: bytes) -> None:
    (app / "shop/app.py").write_bytes(content)
    lines = content.splitlines(keepends=True)
    weak = lines[1].replace(b"two", b"weak")
    patch = tmp_path / "defect.patch"
    hunk = b" " + lines[0] + b"-" + lines[1] + b"+" + weak + b" " + lines[2]
    patch.write_bytes(b"--- a/shop/app.py\n+++ b/shop/app.py\n@@ -1,3 +1,3 @@\n" + hunk)
    workspace = Workspace(tmp_path / "workspace", MANIFEST)
    workspace.create(app, patch)
    assert (workspace.folder / "shop/app.py").read_bytes() == lines[0] + weak + lines[2]


# --- what a fixer reads ---


def test_a_fixer_reads_the_files_that_the_manifest_names_and_that_are_text(workspace: Workspace) -> None:
    tree = workspace.source()
    assert tree.files == texts()
    assert (tree.commit, tree.editable, tree.protected) == (workspace.head(), ("shop/**",), ("shop/faults.py",))


def test_files_that_the_app_makes_or_removes_while_it_runs_are_no_source(workspace: Workspace) -> None:
    (workspace.folder / "shop" / "made.py").write_text("MADE = 1\n")
    (workspace.folder / "gunicorn.conf.py").unlink()
    assert set(workspace.source().files) == set(FILES) - {"gunicorn.conf.py"}


# --- a fix, and back ---


def test_a_fix_is_committed_on_a_branch_and_runs_after_the_merge(workspace: Workspace, tmp_path: Path) -> None:
    before, checkout = workspace.source(), tmp_path / "canary"
    fixed = changed(before, {"shop/app.py": "ONE\n", "shop/deep/er/words.py": None, "shop/new/more.py": "MORE = 1\n"})
    commit = workspace.branch(fixed, "fix-1", "Attempt 1: mend\n\nat last", checkout)
    assert (checkout / "shop/app.py").read_text() == "ONE\n" and not (checkout / "shop/deep").exists()
    assert (checkout / "data/table.bin").read_bytes() == UNREADABLE["data/table.bin"]
    assert workspace.source() == before, "what runs is as it was"
    workspace.drop(checkout)
    assert not checkout.exists()
    diff = workspace.merge("fix-1")
    assert workspace.head() == commit and workspace.source().files == fixed.files
    assert "-one\n" in diff and "+ONE\n" in diff and "shop/new/more.py" in diff and "deleted file" in diff
    assert "+one\n" in workspace.revert()
    assert workspace.source().files == before.files and workspace.head() != before.commit
    assert history(workspace) == ["Roll back", "Attempt 1: mend", "Release of shop"]


def test_attempts_follow_each_other_also_after_one_that_was_given_up(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.source()
    for word in ("a", "b", "c"):  # "b" is dropped before its merge, and "c" takes its branch's name
        name = "fix-1" if word == "a" else "fix-2"
        workspace.branch(changed(before, {"shop/app.py": f"{word}\n"}), name, word, tmp_path / "canary")
        workspace.drop(tmp_path / "canary")
        if word != "b":
            workspace.merge(name)
            assert workspace.source().files["shop/app.py"] == f"{word}\n"
            workspace.revert()
            assert workspace.source().files == before.files


def test_a_fix_that_changes_nothing_can_be_deployed_and_reverted(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.source()
    workspace.branch(before, "fix-1", "nothing", tmp_path / "canary")
    workspace.drop(tmp_path / "canary")
    assert workspace.merge("fix-1") == "" and workspace.revert() == ""
    assert workspace.source().files == before.files


def test_a_file_may_take_a_folders_place_and_a_folder_a_files(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.source()
    swapped = changed(
        before,
        {"shop/app.py": None, "shop/app.py/x.py": "X = 1\n", "shop/deep/er/words.py": None, "shop/deep": "a file\n"},
    )
    workspace.branch(swapped, "fix-1", "swap", tmp_path / "canary")
    workspace.drop(tmp_path / "canary")
    workspace.merge("fix-1")
    assert (workspace.folder / "shop/app.py/x.py").is_file() and (workspace.folder / "shop/deep").is_file()
    workspace.revert()
    assert workspace.source().files == before.files


@pytest.mark.parametrize("path", ["data", "shop/page.html/x.py", "shop/latin.py/x/y.py"])
def test_a_name_that_an_unseen_file_has_is_refused(workspace: Workspace, tmp_path: Path, path: str) -> None:
    tree = changed(workspace.source(), {path: "X = 1\n"})
    with pytest.raises(FixRefused) as caught:
        workspace.branch(tree, "fix-1", "take it", tmp_path / "canary")
    assert caught.value.rule == "path" and path in caught.value.message and str(tmp_path) not in str(caught.value)
    workspace.drop(tmp_path / "canary")


def test_an_unseen_file_may_be_written_over_whatever_its_encoding(workspace: Workspace, tmp_path: Path) -> None:
    tree = changed(workspace.source(), {"shop/latin.py": "# é\n"})
    workspace.branch(tree, "fix-1", "in UTF-8", tmp_path / "canary")
    workspace.drop(tmp_path / "canary")
    assert "+# é" in workspace.merge("fix-1")
    workspace.revert()
    assert (workspace.folder / "shop/latin.py").read_bytes() == UNREADABLE["shop/latin.py"]


# --- our own release ---


def test_a_release_is_a_new_beginning(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.source()
    workspace.branch(changed(before, {"shop/app.py": "fixed\n"}), "fix-1", "Attempt 1", tmp_path / "canary")
    workspace.drop(tmp_path / "canary")
    workspace.merge("fix-1")
    spoilt = changed(before, {"shop/app.py": "spoilt\n", "gunicorn.conf.py": None})
    commit = workspace.rewrite(spoilt)
    assert history(workspace) == ["Release of shop"] and workspace.head() == commit
    assert workspace.source().files == spoilt.files
    assert git(workspace.folder, "branch", "--format=%(refname:short)").split() == ["main"]
    with pytest.raises(GitFailed):
        git(workspace.folder, "cat-file", "-e", before.commit)
    assert (workspace.folder / "data/table.bin").read_bytes() == UNREADABLE["data/table.bin"]


# --- what a fixer with a shell in a copy of it could find ---


def everything(workspace: Workspace) -> bytes:
    return b"\n".join(part for name, data in workspace.exposed() for part in (name.encode(), data))


def times(workspace: Workspace) -> set[int]:
    below = [path for path in workspace.folder.rglob("*") if path.name != "worktrees"]
    return {path.lstat().st_mtime_ns for path in (workspace.folder, *below)}


def object_names(workspace: Workspace) -> set[str]:
    listed = git(workspace.folder, "cat-file", "--batch-check=%(objectname)", "--batch-all-objects")
    return set(listed.split())


def reachable(workspace: Workspace) -> set[str]:
    return {line.split(" ")[0] for line in git(workspace.folder, "rev-list", "--objects", "--all").splitlines()}


def fix(workspace: Workspace, content: str, checkout: Path, name: str = "fix-1") -> None:
    tree = changed(workspace.source(), {"shop/app.py": content})
    workspace.branch(tree, name, "Attempt: mend", checkout)
    workspace.drop(checkout)


def test_the_sound_version_is_nowhere(tmp_path: Path, app: Path) -> None:
    workspace, patch = Workspace(tmp_path / "workspace", MANIFEST), tmp_path / "defect.patch"
    patch.write_text(PATCH.replace("+weak", "+weakened by us"))
    workspace.create(app, patch)
    assert b"weakened by us" in everything(workspace) and b"\ntwo" not in everything(workspace)


def test_nothing_of_an_earlier_release_is_left(workspace: Workspace, tmp_path: Path) -> None:
    sound = workspace.source()
    fix(workspace, "mended once\n", tmp_path / "canary")
    workspace.merge("fix-1")
    (workspace.folder / "shop/__pycache__").mkdir()
    (workspace.folder / "shop/__pycache__/app.cpython-311.pyc").write_bytes(b"compiled: one two three")
    (workspace.folder / "shop/made.py").write_text("MADE = 1\n")
    workspace.rewrite(changed(sound, {"shop/app.py": "spoilt\n"}))
    assert object_names(workspace) == reachable(workspace)
    for gone in (b"\ntwo\n", b"mended once", b"Attempt: mend", b"compiled", sound.commit.encode()):
        assert gone not in everything(workspace)
    assert b"spoilt\n" in everything(workspace)
    assert git(workspace.folder, "ls-files").split() == sorted([*FILES, *UNREADABLE]), "what the app made is no source"


def test_every_time_is_the_same_whatever_happened(workspace: Workspace, tmp_path: Path) -> None:
    def settled() -> bool:
        debug = git(workspace.folder, "ls-files", "--debug")
        assert set(re.findall(r"(?:ctime|mtime|ino|dev|uid): *([^\t\n]*)", debug)) <= {"0", "0:0"}
        dates = set(git(workspace.folder, "log", "--all", "--format=%aI%n%cI").split())
        return len(times(workspace)) == 1 and len(dates) == 1

    assert settled()
    first = times(workspace)
    workspace.rewrite(changed(workspace.source(), {"shop/app.py": "spoilt\n"}))
    assert settled()
    assert times(workspace) != first, "Python would take its old listing of a folder for the new one"
    fix(workspace, "a\n", tmp_path / "canary")
    assert settled()
    workspace.merge("fix-1")
    assert settled()
    workspace.revert()
    assert settled()
    left = {path.name for path in (workspace.folder / ".git").iterdir()}
    assert not left & {"ORIG_HEAD", "COMMIT_EDITMSG", "logs", "hooks", "description", "REVERT_HEAD"}


def test_an_unchanged_file_is_not_written_again_by_a_deployment(workspace: Workspace, tmp_path: Path) -> None:
    """Workers read their modules while a release is merged: a file that is taken away and put back could be missed."""
    untouched = workspace.folder / "gunicorn.conf.py"
    before = untouched.stat().st_ino
    held = untouched.open("rb")  # as long as it is open, its number is given to no other file
    fix(workspace, "a\n", tmp_path / "canary")
    workspace.merge("fix-1")
    workspace.revert()
    workspace.rewrite(changed(workspace.source(), {"shop/app.py": "spoilt\n"}))
    assert untouched.stat().st_ino == before
    held.close()


def test_no_path_of_this_machine_is_told_but_its_own(workspace: Workspace, tmp_path: Path) -> None:
    fix(workspace, "a\n", tmp_path / "canary")
    told = {name for name, data in workspace.exposed() if bytes(tmp_path) in data}
    assert told == {"name: folder"}


def test_what_a_fixer_committed_is_its_own_and_what_nothing_refers_to_is_not(
    workspace: Workspace, tmp_path: Path
) -> None:
    fix(workspace, "by the fixer\n", tmp_path / "canary")
    workspace.merge("fix-1")
    workspace.revert()
    git(workspace.folder, "hash-object", "-w", "--stdin", stdin=b"left behind\n")
    objects = {name: data for name, data in workspace.exposed() if ": git " in name}

    def origin(part: bytes) -> set[str]:
        return {name.partition(":")[0] for name, data in objects.items() if part in data}

    assert origin(b"by the fixer") == origin(b"Attempt: mend") == origin(b"Roll back") == {"own"}
    assert origin(b"one\ntwo\n") == origin(b"left behind") == {"file"}
    assert origin(b"Release of shop") == {"text"}
    assert len(objects) == len(object_names(workspace))


def test_a_fix_that_was_given_up_leaves_nothing_once_its_branch_is_begun_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    fix(workspace, "first try\n", tmp_path / "canary")
    fix(workspace, "second try\n", tmp_path / "canary")
    assert object_names(workspace) == reachable(workspace)
    assert b"first try" not in everything(workspace) and b"second try" in everything(workspace)


def test_files_that_the_app_makes_are_exposed_too_and_no_link_is_followed(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not in the workspace")
    (workspace.folder / "shop/link").symlink_to(tmp_path / "outside")
    (workspace.folder / "shop/made.log").write_text("made at run time")
    os.mkfifo(workspace.folder / "shop/pipe")
    found = everything(workspace)
    assert b"made at run time" in found and b"shop/pipe" in found and b"shop/link -> " in found
    assert b"not in the workspace" not in found
