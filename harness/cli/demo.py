"""``harness demo``: one trial in which a model's real SDK talks to a stand-in on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from harness.api import run
from harness.errors import InputError
from harness.fixing.reply import Reply, ReplyEdit
from harness.fixing.standins import gemini, openai
from harness.fixing.standins.replies import ABSTENTION
from harness.fixing.standins.server import Answer
from harness.git import GitFailed, patched
from harness.leaks.needles import running_tree
from harness.loading import LoadedScenario, load_scenario

KEY: Final = "a-demo-needs-no-key"
NOTHING: Final = "nothing"  # the misdeed of a model that answers at once
FIRST: Final = "quota"  # the misdeed where none is named
CANNED: Final = "The answers are canned: the verdict says nothing of any model."

_OF_MODELS: Final = ("GEMINI_", "GOOGLE_", "OPENAI_")  # how the names of all variables begin that the SDKs read


@dataclass(frozen=True, slots=True)
class Model:
    """A stand-in, and the variables by which a fixer finds it at a URL."""

    spoken: ModuleType
    variables: Callable[[str], dict[str, str]]


MODELS: Final = {
    "gemini": Model(
        gemini, lambda url: {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": KEY, "GEMINI_MODEL": gemini.MODEL}
    ),
    "openai": Model(
        openai, lambda url: {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY, "OPENAI_MODEL": openai.MODEL}
    ),
}


@click.command("demo")
@click.argument("scenario", type=click.Path(path_type=Path), default=Path("scenarios/pool_exhaustion.yml"))
@click.option("--model", type=click.Choice(sorted(MODELS)), default="gemini", show_default=True)
@click.option(
    "--misbehave",
    "misdeeds",
    metavar="NAME",
    multiple=True,
    help=f"What it does before it answers, in this order; without this: {FIRST}. Known: {NOTHING}, and "
    + "; ".join(f"of {name} {', '.join(model.spoken.NAMED)}" for name, model in MODELS.items()),
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where the trial's folder and MLflow's database go.",
)
def command(scenario: Path, model: str, misdeeds: tuple[str, ...], results: Path) -> None:
    """Run one trial of SCENARIO with a stand-in of a model: no key, no cost, no network.

    The model's real SDK talks to a server on this machine. It misbehaves first, then answers with the scenario's
    reference patch, or, where nothing is to be mended, that nothing is. So it shows the way to a model and back, with
    retries; the answers are canned, and the verdict says nothing of any model. Keys in the environment are not used.

    \b
    Examples:
      harness demo
      harness demo scenarios/malformed_sql.yml --model openai --misbehave quota --misbehave broken
    """
    loaded, chosen, misdeeds = load_scenario(scenario), MODELS[model], misdeeds or (FIRST,)
    answers = [*misbehaving(chosen, misdeeds), chosen.spoken.answer(canned(loaded))]
    click.echo(f"A stand-in of {model} on this machine. {CANNED}")
    with chosen.spoken.running(answers) as server, environment(chosen.variables(server.url)):
        retriever = "none" if loaded.kb is None else "lexical"
        verdict = run(scenario, fixer=model, retriever=retriever, results=results, console=True)
    click.echo(f"The stand-in was asked {len(server.requests)} times; before its answer: {', '.join(misdeeds)}.")
    click.echo(f"{verdict.outcome}. {CANNED}")
    click.get_current_context().exit(verdict.outcome.exit_code)


def misbehaving(model: Model, names: Sequence[str]) -> list[Answer]:
    """What the stand-in does of that name, each once. InputError where there is none of that name."""
    named: Mapping[str, Callable[[], Answer]] = model.spoken.NAMED
    if unknown := [name for name in names if name not in (*named, NOTHING)]:
        raise InputError(f"no misdeed {unknown[0]!r}", cure=f"known: {', '.join((*named, NOTHING))}")
    return [named[name]() for name in names if name != NOTHING]


def canned(loaded: LoadedScenario) -> dict[str, Any]:
    """The model's reply: the reference patch as edits of what runs; for a control, that nothing is to be changed."""
    if loaded.spec.metadata.control:
        return ABSTENTION | {"root_cause": "known beforehand: nothing is wrong that code should change"}
    if loaded.reference is None:
        cure = "name one as `reference`, or choose a scenario that has one"
        raise InputError(f"{loaded.file} has no reference patch, so a stand-in has no answer", cure=cure)
    try:
        tree = running_tree(loaded)
        after = patched(tree, loaded.reference.read_bytes().decode(errors="replace")).files
    except GitFailed as error:
        cure = "make it anew: git diff --relative in the app's folder, against what runs"
        raise InputError(f"a patch of {loaded.file} does not fit the app: {error}", cure=cure) from None
    gone = [ReplyEdit(kind="delete", path=path) for path in sorted(tree.files.keys() - after.keys())]
    changed = [path for path, content in sorted(after.items()) if tree.files.get(path) != content]
    reply = Reply(
        root_cause="known beforehand: this answer is canned",
        remediation="what is known to heal",
        edits=[*gone, *(ReplyEdit(kind="write", path=path, content=after[path]) for path in changed)],
        confidence=1.0,
    )
    return reply.model_dump(mode="json")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Of all that the models' SDKs read, only these are set; what was there before is there again afterwards."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_OF_MODELS)}
    for name in kept:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(kept)
