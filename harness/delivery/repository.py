"""Somebody's repository, changed by commits that are made without a checkout: no content of theirs or ours is run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from harness.errors import FixRefused, ServiceUnavailable
from harness.git import GitFailed, git, git_bytes, init
from harness.model.delivery import GitDelivery
from harness.settings import secret

TOKEN = "DELIVERY_TOKEN"  # noqa: S105 - the variable's name; of a repository that is reached by https
_PASSED_ON = ("HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSH")  # by which ssh knows who we are
_HELPER = 'credential.helper=!f() { test "$1" = get && echo username=x-access-token && echo "password=$TOKEN"; }; f'
_FILE, _PROGRAM = "100644", "100755"

Changes = Mapping[str, str | None]  # a file's new content by its path in the app's folder; None: it goes


class Repository:
    """``folder`` is ours, and becomes a small clone. `head` comes first; it, `push` and `reverted` use the network."""

    def __init__(self, spec: GitDelivery, folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self._ready = False

    def head(self) -> str:
        """The newest commit of the branch, and all its files. ServiceUnavailable where it cannot be had."""
        self._begin()
        try:
            branch = f"refs/heads/{self._spec.branch}"
            self._remote("fetch", "--quiet", "--depth=2", "--no-tags", "--", self._spec.remote, branch)
        except GitFailed as error:
            cure = f"is deploy.remote right, and may we read it? For https, set {TOKEN}"
            raise ServiceUnavailable(f"the repository cannot be fetched: {error}", cure=cure) from None
        return self._git("rev-parse", "FETCH_HEAD").strip()

    def has(self, commit: str, path: str) -> bool:
        """Whether the commit has such a file at its top."""
        return bool(self._git("ls-tree", commit, "--", path).strip())

    def require_same(self, commit: str, files: Mapping[str, str]) -> None:
        """FixRefused (rule "drift") where the branch holds other content than what runs: a fix of that is no fix."""
        for path, content in files.items():
            if self._content(commit, path) != content.encode():
                cure = "deploy what the branch holds, then try again"
                raise FixRefused(f"{self.path(path)} is not what runs here", rule="drift", cure=cure)

    def commit(self, base: str, changes: Changes, message: str) -> str:
        """A commit on top of ``base``, not pushed yet. FixRefused (rule "path") where a link is in its way."""
        entries = {path: self._entry(base, path) for path in changes}
        if links := sorted(path for path, (mode, _) in entries.items() if mode not in ("", _FILE, _PROGRAM)):
            raise FixRefused(f"{self.path(links[0])} is no plain file in the repository", rule="path")
        self._git("read-tree", base)
        for path, content in changes.items():
            if content is None:
                self._git("update-index", "--force-remove", "--", self.path(path))
                continue
            blob = self._git("hash-object", "-w", "--stdin", stdin=content.encode()).strip()
            self._git("update-index", "--add", "--cacheinfo", f"{entries[path][0] or _FILE},{blob},{self.path(path)}")
        return self._commit_index(base, message)

    def push(self, commit: str) -> None:
        """FixRefused (rule "moved") where the branch has moved on; ServiceUnavailable where it cannot be pushed."""
        try:
            self._remote("push", "--quiet", "--", self._spec.remote, f"{commit}:refs/heads/{self._spec.branch}")
        except GitFailed as error:
            if re.search(r"fetch first|non-fast-forward|cannot lock ref", str(error)):
                raise FixRefused("somebody else has pushed meanwhile", rule="moved", cure="try again") from None
            cure = "may the bot push to this branch?"
            raise ServiceUnavailable(f"the commit cannot be pushed: {error}", cure=cure) from None

    def reverted(self, commit: str, base: str, message: str) -> str:
        """A commit on top of the branch that takes ``commit`` back, not pushed yet; empty where nothing of it is left.

        ServiceUnavailable where somebody has changed the same files since: that takes a person.
        """
        head = self.head()
        if not self._known(commit):
            self._fetch_commit(commit)
        restored: dict[str, tuple[str, str]] = {}
        for path in self._git("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, commit).split("\0"):
            now, then = self._entry_at(head, path), self._entry_at(base, path)
            if not path or now == then:
                continue
            if now != self._entry_at(commit, path):
                cure = f"git revert {commit}, by hand; then harness deliveries --keep {commit[:12]}"
                raise ServiceUnavailable(f"{path} has been changed since the fix", cure=cure)
            restored[path] = then
        if not restored:
            return ""
        self._git("read-tree", head)
        for path, (mode, blob) in restored.items():
            where = ("--force-remove", "--", path) if not mode else ("--add", "--cacheinfo", f"{mode},{blob},{path}")
            self._git("update-index", *where)
        return self._commit_index(head, message)

    def path(self, path: str) -> str:
        """Of a file of the app, in the repository."""
        return (PurePosixPath(self._spec.folder) / path).as_posix()

    def _begin(self) -> None:
        if not self._ready:
            self._folder.mkdir(parents=True, exist_ok=True)
            init(self._folder)
            self._ready = True

    def _known(self, commit: str) -> bool:
        try:
            self._git("cat-file", "-e", f"{commit}^")
        except GitFailed:
            return False
        return True

    def _fetch_commit(self, commit: str) -> None:
        """With its parent, where the branch has moved on so far that it was not fetched."""
        try:
            self._remote("fetch", "--quiet", "--depth=2", "--no-tags", "--", self._spec.remote, commit)
        except GitFailed as error:
            cure = f"git revert {commit}, by hand; then harness deliveries --keep {commit[:12]}"
            raise ServiceUnavailable(f"the commit of the fix cannot be fetched: {error}", cure=cure) from None

    def _commit_index(self, base: str, message: str) -> str:
        tree = self._git("write-tree").strip()
        return self._git("commit-tree", tree, "-p", base, stdin=message.encode()).strip()

    def _content(self, commit: str, path: str) -> bytes | None:
        mode, blob = self._entry(commit, path)
        return git_bytes(self._folder, "cat-file", "blob", blob) if mode in (_FILE, _PROGRAM) else None

    def _entry(self, commit: str, path: str) -> tuple[str, str]:
        return self._entry_at(commit, self.path(path))

    def _entry_at(self, commit: str, path: str) -> tuple[str, str]:
        """Mode and object; empty where there is none."""
        told = self._git("ls-tree", "-z", commit, "--", path) if path else ""
        mode, _, blob = told.partition("\t")[0].split(" ") if told else ("", "", "")
        return mode, blob

    def _git(self, *words: str, stdin: bytes | None = None) -> str:
        name, _, address = self._spec.author.rstrip(">").partition(" <")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        env = {"GIT_LITERAL_PATHSPECS": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": address, f"GIT_{who}_DATE": now}
        return git(self._folder, *words, stdin=stdin, env=env)

    def _remote(self, *words: str) -> str:
        """The token goes by the environment: arguments are there for all to see."""
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
        token = secret(os.environ, TOKEN) if self._spec.remote.startswith("https://") else None
        helper = ("-c", _HELPER) if token else ()
        return git(self._folder, *helper, *words, env={**env, "TOKEN": token} if token else env)
