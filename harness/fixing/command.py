"""The fixer that is any program: an agent's command line in any language, which edits files.

It gets a fresh folder (see briefing.py), edits the code there within its time, and what it has changed is the fix (see
handback.py). Nothing that it starts outlives its turn, unless it means to and bubblewrap is not there (see
keeper.py). It runs as the user of the harness, with the user's files and network within its reach, for it needs its own
settings and its model: run only what you trust. What would tell it the answer can be hidden from it (see answers.py).

What it prints is for people, and never told to a fixer: it could say anything, the answer included.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.errors import InputError, ProposalFailed
from harness.fixing import briefing, handback, turn
from harness.fixing.handback import Answer
from harness.model.fix import Attempt, Cost, Edit, Fix, WriteFile
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.redaction import redacted, secrets_in

PASSED: Final = ("PATH", "HOME", "LANG", "TERM")
MORE_PASSED: Final = "FIXER_ENV"  # names of further variables, such as ANTHROPIC_API_KEY,GEMINI_API_KEY

_SHORTEST: Final = 8  # characters of a value that is looked for
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CommandFixer:
    """Proposes what a command does to the app's code. Every failure of the command is a ProposalFailed.

    ``command`` is split as a shell does, and is never run by one. Its program is found on PATH, or from the folder
    where the harness was started; other relative paths mean the agent's folder. ``budget_s`` bounds the command.
    It runs in the background (nice 10), with ``PASSED`` and a TMPDIR of its own as its environment, and the variables
    that ``FIXER_ENV`` names: their values are secret. ``logs``: a folder that keeps what it printed, redacted.
    ``hidden``: folders and files that it finds empty, such as the scenarios and the results, by ``bwrap``, the program
    of bubblewrap; with that it sees no process but its own, either.

    Raises InputError where the command cannot be run as it is written, or lies in what is hidden.
    """

    name = "command"

    def __init__(
        self,
        command: str,
        *,
        budget_s: float = 110.0,
        logs: Path | None = None,
        hidden: Sequence[Path] = (),
        bwrap: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._command = _parsed(command, environ)
        self.model = Path(self._command[0]).name
        self.budget_s, self._logs, self._turns = budget_s, logs, 0
        self._hidden, self._bwrap = [path.resolve() for path in hidden], bwrap
        program = Path(self._command[0])
        above = {path for file in (program, program.resolve()) for path in (file, *file.parents)}
        if bwrap and not above.isdisjoint(self._hidden):
            raise InputError(f"the fixer's program {program} lies in a hidden folder", cure="move it elsewhere")
        lent = [name for name in _names(environ.get(MORE_PASSED, "")) if name not in PASSED]
        self._env = {name: environ[name] for name in (*PASSED, *lent) if name in environ}
        whole = {environ[name] for name in lent if len(environ.get(name, "")) >= _SHORTEST}
        self._lent = secrets_in(self._env) | whole
        self._secrets = secrets_in(environ) | self._lent

    @property
    def template(self) -> tuple[str, str]:
        """The name and the text of what its prompts are made of."""
        return briefing.template()

    def prompt(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> str:
        """All files that the command gets for the same arguments, with their names."""
        return briefing.as_text(briefing.briefing(incident, passages, tree, earlier, budget_s=self.budget_s))

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        started_s = time.monotonic()
        told = briefing.briefing(incident, passages, tree, earlier, budget_s=self.budget_s)
        with turn.room() as room:
            briefing.lay_out(told, room.work)
            folder = handback.Folder.of(room.work)
            try:
                said = self._run(room)
                edits, answer = handback.edits(tree.files, folder), handback.answer(folder)
                self._check(tree, edits, answer, said)
            except ProposalFailed as error:
                cost = _cost(_readable(folder), started_s)
                raise ProposalFailed(redacted(error.message, self._secrets), cure=error.cure, cost=cost) from None
        sha256 = hashlib.sha256(briefing.as_text(told).encode()).hexdigest()
        return self._fix(edits, answer, cost=_cost(answer, started_s), prompt=f"{briefing.version()} {sha256}")

    def _run(self, room: turn.Room) -> str:
        """Where to read what it printed. ProposalFailed unless it ended in time, with exit code 0."""
        view = turn.view(self._bwrap, self._hidden, room) if self._bwrap else []
        ended = turn.run([*view, *self._command], room, self._env, budget_s=self.budget_s)
        where = self._keep_log(ended.printed)
        said = f"what it printed {where}" if ended.printed.strip() else "it printed nothing"
        if ended.code is None:
            cure = "Do less, or raise budget.fixer: what is half done is not used."
            raise ProposalFailed(f"{self.model} was ended after {self.budget_s:g} s; {said}", cure=cure)
        if ended.code:
            cure = "Its edits are not used: end with exit code 0."
            raise ProposalFailed(f"{self.model} ended with exit code {ended.code}; {said}", cure=cure)
        return said

    def _keep_log(self, printed: str) -> str:
        """Says where, from the trial's folder: its whole path names the scenario."""
        if self._logs is None:
            return "was not kept"
        self._turns += 1
        self._logs.mkdir(parents=True, exist_ok=True)
        kept = self._logs / f"agent-{self._turns}.log"
        kept.unlink(missing_ok=True)
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(redacted(printed, self._secrets).encode(errors="replace"))
        return f"is in {self._logs.name}/{kept.name}"

    def _check(self, tree: SourceTree, edits: Sequence[Edit], answer: Answer, said: str) -> None:
        if answer.abstain and edits:
            raise ProposalFailed(f"{self.model} abstains and has changed files", cure="Leave app/ as it is to abstain.")
        if not answer.abstain and not edits:
            cure = "Edit files below app/, or abstain in fix.json."
            raise ProposalFailed(f"{self.model} has changed nothing, and does not abstain; {said}", cure=cure)
        for edit in edits:
            text = f"{edit.path}\n{edit.content}" if isinstance(edit, WriteFile) else ""
            before = f"{edit.path}\n{tree.files[edit.path]}" if edit.path in tree.files else ""
            if any(secret in text and secret not in before for secret in self._lent):
                cure = "Write no key or password into the code."
                raise ProposalFailed(f"{self.model} wrote a secret of its environment into {edit.path!a}", cure=cure)

    def _fix(self, edits: tuple[Edit, ...], answer: Answer, *, cost: Cost, prompt: str) -> Fix:
        def clean(text: str) -> str:
            return redacted(text, self._secrets).strip()

        unsaid = "it abstains, and does not say why" if answer.abstain else "it did not say: see its edits"
        return Fix(
            root_cause=clean(answer.root_cause) or unsaid,
            edits=edits,
            remediation=clean(answer.remediation),
            verification=tuple(step for step in map(clean, answer.verification) if step),
            confidence=answer.confidence,
            cost=cost,
            model=clean(answer.model) or self.model,
            prompt=prompt,
        )


def _readable(folder: handback.Folder) -> Answer:
    """What it says of itself, for what it has cost although it failed."""
    try:
        return handback.answer(folder)
    except ProposalFailed:
        return Answer()


def _cost(answer: Answer, started_s: float) -> Cost:
    seconds = time.monotonic() - started_s
    return Cost(seconds=seconds, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out, usd=answer.usd)


def _parsed(command: str, environ: Mapping[str, str]) -> list[str]:
    """The words, the first of them the program's whole path."""
    try:
        program, *arguments = shlex.split(command)
    except ValueError as error:
        why = str(error) if command.strip() else "it is empty"
        cure = "write it as in a shell: command: ./my-agent --flag 'two words'"
        raise InputError(f"the fixer's command {command!r} cannot be read: {why}", cure=cure) from None
    found = shutil.which(program, path=environ.get("PATH", os.defpath))
    if found is None:
        cure = "install it, make it executable, or give its path"
        raise InputError(f"the fixer's command: no program {program!r} can be run", cure=cure)
    for word in arguments:
        if Path(word).parts[:1] and Path(word).parts[0] not in briefing.OURS and _is_here(word):
            cure = f"give its whole path: {shlex.quote(str(Path(word).absolute()))}"
            raise InputError(f"the fixer's command names the file {word!r}, and runs in a folder of its own", cure=cure)
    return [str(Path(found).absolute()), *arguments]


def _is_here(word: str) -> bool:
    return not Path(word).is_absolute() and len(os.fsencode(word)) < 256 and "\0" not in word and Path(word).is_file()


def _names(listed: str) -> list[str]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        if not _NAME.fullmatch(name):
            cure = f"list names: {MORE_PASSED}=ANTHROPIC_API_KEY,GEMINI_API_KEY"
            raise InputError(f"{MORE_PASSED}: {name[:40]!r} is no name of a variable", cure=cure)
    return names
