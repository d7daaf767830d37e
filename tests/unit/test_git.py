"""git, whatever the user's own settings are."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ServiceUnavailable
from harness.git import GitFailed, git, init, patched, shipped
from harness.model.source import SourceTree

TREE = SourceTree(
    files={"app.py": "one\ntwo\nthree\n", "pkg/words.py": 'WORD = "é"\n'}, commit="abc", protected=("p.py",)
)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose every git command would leave ``touched`` behind, sign, or convert line ends."""
    home, template = tmp_path / "home", tmp_path / "template"
    (template / "hooks").mkdir(parents=True)
    home.mkdir()
    touched = tmp_path / "touched"
    for name in ("pre-commit", "commit-msg", "post-commit", "post-checkout", "post-merge", "reference-transaction"):
        hook = template / "hooks" / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {touched}\nexit 1\n")
        hook.chmod(0o755)
    config = home / ".gitconfig"
    config.write_text(
        f"[init]\n\ttemplateDir = {template}\n\tdefaultBranch = trunk\n"
        f"[core]\n\thooksPath = {template}/hooks\n\tautocrlf = true\n\texcludesFile = {home}/ignored\n"
        "[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = false\n[user]\n\tname = Somebody\n\temail = some@body.test\n"
        "[color]\n\tui = always\n[diff]\n\tnoprefix = true\n\texternal = false\n[merge]\n\tff = false\n"
    )
    (home / "ignored").write_text("*.py\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(template))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    return touched


def repository(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "app.py").write_bytes(b"one\r\ntwo\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_users_settings_and_hooks_are_not_heard(hostile: Path, tmp_path: Path) -> None:
    folder = repository(tmp_path / "repository")
    assert git(folder, "branch", "--show-current") == "main\n"
    assert git(folder, "log", "--format=%an <%ae> %s") == "creamandonion <bot@localhost> first\n"
    assert git(folder, "ls-files") == "app.py\n"
    (folder / "app.py").write_bytes(b"one\r\nTWO\n")
    assert "--- a/app.py\n+++ b/app.py\n" in git(folder, "diff"), "no colour, and prefixes"
    git(folder, "checkout", "--", ".")
    assert (folder / "app.py").read_bytes() == b"one\r\ntwo\n", "line ends stay as they are"
    assert not hostile.exists(), "a hook ran"
    assert not (tmp_path / "elsewhere").exists()


def test_a_failure_tells_in_gits_own_words(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repository")
    with pytest.raises(GitFailed, match=r"^git checkout: .*nowhere"):
        git(folder, "checkout", "nowhere")


def test_output_that_is_no_utf_8_is_read_all_the_same(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repository")
    (folder / "app.py").write_bytes(b"caf\xe9\n")
    assert "+caf\N{REPLACEMENT CHARACTER}" in git(folder, "diff")


def test_without_git_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable, match="apt-get install git"):
        git(tmp_path, "status")


def test_the_same_commit_has_the_same_name_whenever_it_is_made_and_there_is_no_trace_of_the_way(tmp_path: Path) -> None:
    commits = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        init(folder)
        (folder / "app.py").write_text("x = 1\n")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "first")
        commits.add(git(folder, "rev-parse", "HEAD"))
        assert git(folder, "log", "-1", "--format=%aI %cI").split() == ["2026-01-01T00:00:00+00:00"] * 2
        assert not (folder / ".git/logs").exists() and not (folder / ".git/hooks").exists()
    assert len(commits) == 1


def test_what_an_app_ships_leaves_out_tests_and_notes(tmp_path: Path) -> None:
    kept = {"app.py": "x = 1\n", "pkg/words.txt": "é\n"}
    for name, text in {**kept, "tests/test_app.py": "", "README.md": "", ".env": "", "pkg/.x/y.py": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "image.bin").write_bytes(b"\xff\xfe")
    assert shipped(tmp_path).files == kept


# --- a patch on a tree ---


def test_a_patch_changes_adds_and_deletes() -> None:
    patch = (
        "--- a/app.py\n+++ b/app.py\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"
        '--- a/pkg/words.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-WORD = "é"\n'
        "--- /dev/null\n+++ b/new/more.py\n@@ -0,0 +1 @@\n+MORE = 1\n"
    )
    after = patched(TREE, patch)
    assert after.files == {"app.py": "one\nTWO\nthree\n", "new/more.py": "MORE = 1\n"}
    assert (after.commit, after.protected) == ("", ("p.py",))
    assert TREE.files["app.py"] == "one\ntwo\nthree\n"


def test_a_patch_of_lines_that_end_in_crlf_fits() -> None:
    tree = TREE.with_files({"app.py": "one\r\ntwo\r\n"})
    after = patched(tree, "--- a/app.py\n+++ b/app.py\n@@ -1,2 +1,2 @@\n one\r\n-two\r\n+TWO\r\n")
    assert after.files == {"app.py": "one\r\nTWO\r\n"}


REFUSED = {
    "does not fit": "--- a/app.py\n+++ b/app.py\n@@ -1,3 +1,3 @@\n one\n-zwei\n+TWO\n three\n",
    "no patch": "make it faster",
    "nothing": "",
    "leaves the folder": "--- /dev/null\n+++ b/../out.py\n@@ -0,0 +1 @@\n+OUT = 1\n",
    "git's own folder": "--- /dev/null\n+++ b/.git/hooks/x\n@@ -0,0 +1 @@\n+OUT = 1\n",
    "symbolic link": "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
}


@pytest.mark.parametrize("patch", REFUSED.values(), ids=REFUSED.keys())
def test_a_patch_that_cannot_be_used_is_refused(patch: str) -> None:
    with pytest.raises(GitFailed):
        patched(TREE, patch)
