"""``harness deliveries``: what was committed to other people's repositories, and to decide about what stands there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from harness.delivery.audit import Audit, Entry, standing, utc_now
from harness.delivery.repository import Repository
from harness.delivery.target import revert
from harness.errors import InputError
from harness.model.delivery import GitDelivery

_SHORTEST = 7  # of a commit's name


@click.command("deliveries")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--revert", "taken_back", metavar="COMMIT", help="Take it back by a commit, and push that.")
@click.option("--keep", metavar="COMMIT", help="Let it stand: you have looked at it, or have reverted it yourself.")
def command(results: Path, taken_back: str | None, keep: str | None) -> None:
    """Show what trials with `deploy: {mode: git}` have committed, pushed and taken back, and what is undecided.

    \b
    Examples:
      harness deliveries
      harness deliveries --revert 1f3a9c2
    """
    audit = Audit(results)
    if taken_back and keep:
        raise InputError("--revert and --keep exclude each other", cure="give one of them")
    if keep:
        entry = _undecided(audit, keep)
        audit.append(replace(entry, at=utc_now(), action="kept", reason="by hand"))
    elif taken_back:
        entry = _undecided(audit, taken_back)
        with TemporaryDirectory(prefix="repository-") as folder:
            spec = _spec(entry)
            commit = revert(spec, Repository(spec, Path(folder)), audit, entry, reason="by hand")
        click.echo(f"reverted by {commit[:12]}" if commit else "nothing of it was left in the branch")
        return
    _show(audit)


def _show(audit: Audit) -> None:
    """One line each, as wide as the terminal, by repository."""
    entries = audit.entries()
    undecided = {entry.commit for entry in standing(entries)}
    width, last = shutil.get_terminal_size().columns, ("", "")
    for entry in sorted(entries, key=lambda each: (each.remote, each.branch)):  # a stable sort: in order within
        if (entry.remote, entry.branch) != last:
            last = (entry.remote, entry.branch)
            click.echo(f"{entry.remote}, {entry.branch}:")
        waits = entry.action == "pushed" and entry.commit in undecided
        line = f"{entry.at[:19]}Z  {entry.action:8}  {entry.commit[:12]:12}  {'[undecided] ' if waits else ''}"
        text = "".join(filter(str.isprintable, (entry.reason.splitlines() or [""])[0]))
        click.echo(line + text[: max(20, width - len(line))])
    if not entries:
        click.echo(f"nothing was delivered: {audit.path} is not there")


def _undecided(audit: Audit, commit: str) -> Entry:
    found = [entry for entry in standing(audit.entries()) if entry.commit.startswith(commit)]
    if len(found) != 1 or len(commit) < _SHORTEST:
        cure = f"harness deliveries shows them; give at least {_SHORTEST} characters"
        raise InputError(f"no fix that is undecided has the commit {commit}", cure=cure)
    return found[0]


def _spec(entry: Entry) -> GitDelivery:
    """What a revert needs of it. Nobody waits for its pipeline: who reverts by hand watches it."""
    return GitDelivery(
        mode="git",
        remote=entry.remote,
        branch=entry.branch,
        folder=entry.folder,
        author=entry.author,
        pipeline=("true",),
        min_confidence=1.0,
    )
