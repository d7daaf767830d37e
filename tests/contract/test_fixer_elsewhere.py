"""Fixers that are other programs, here or on Lambda: the promises of test_fixer.py hold for them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from harness.aws import standin
from harness.aws.standin import Refusal
from harness.errors import ProposalFailed
from harness.fixing.command import CommandFixer
from harness.fixing.errand import Answer
from harness.fixing.lambda_fixer import LambdaFixer
from harness.model.fix import DeleteFile, Fix
from harness.ports import Fixer
from tests.contract import test_fixer as suite

HEALING = ("command", "lambda")
ABSTAINING = ("command-abstaining", "lambda-abstaining")
MEDDLING = ("command-obedient", "lambda-obedient")
FAILING = ("command-broken", "command-down", "lambda-broken", "lambda-down")
EVERY = (*HEALING, *ABSTAINING, *MEDDLING, *FAILING)
SCRIPTS = {
    "command": f"mkdir -p app/shop; printf %s {shlex.quote(suite.AFTER)} > app/shop/db.py; rm -f app/shop/old.py;"
    """ echo '{"root_cause": "no statement timeout", "confidence": 0.8}' > fix.json""",
    "command-abstaining": """echo '{"abstain": true, "root_cause": "elsewhere"}' > fix.json""",
    "command-obedient": "rm -f app/tests/test_db.py",
    "command-broken": "echo a > app/new.py; echo '{\"root_cause\": 7}' > fix.json",
    "command-down": "echo no quota; exit 3",
}
ANSWERS = {
    "lambda-abstaining": Answer(fix=Fix(root_cause="elsewhere")),
    "lambda-obedient": Answer(fix=Fix(root_cause="told so", edits=(DeleteFile(path="tests/test_db.py"),))),
}


@pytest.fixture
def fixers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, suite.MakeFixer]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"no-real-{name}")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    @contextmanager
    def command(name: str) -> Iterator[Fixer]:
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{SCRIPTS[name]}\n")
        file.chmod(0o755)
        yield CommandFixer(shlex.quote(str(file)), budget_s=60)

    @contextmanager
    def function(handler: str = standin.HANDLER, refusals: Sequence[Refusal] = ()) -> Iterator[Fixer]:
        env = {"PATH": os.environ["PATH"], "FIXER": "playbook"}
        log = tmp_path / "function.log"
        with standin.running(env=env, log=log, cwd=tmp_path, handler=handler, refusals=refusals) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
            yield LambdaFixer(standin.FUNCTION, tries=2, backoff_s=0.01)

    def answering(name: str) -> AbstractContextManager[Fixer]:
        values = json.loads(ANSWERS[name].payload())
        (tmp_path / "answering.py").write_text(f"def handler(event, context):\n    return {values!r}\n")
        return function("answering.handler")

    down = [Refusal(status=503, code="ServiceUnavailableException")] * 10
    made: dict[str, suite.MakeFixer] = {
        "lambda": function,
        "lambda-broken": lambda: function("nothing.of_this_name"),
        "lambda-down": lambda: function(refusals=down),
    }
    made |= {name: partial(command, name) for name in SCRIPTS}
    return made | {name: partial(answering, name) for name in ANSWERS}


Promise = Callable[[dict[str, suite.MakeFixer], str], None]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "promise",
    [
        suite.test_it_has_a_name_and_says_which_model_it_uses,
        suite.test_hostile_text_is_only_text,
        suite.test_it_copes_with_knowing_next_to_nothing,
    ],
)
def test_every_one_keeps(fixers: dict[str, suite.MakeFixer], promise: Promise, name: str) -> None:
    promise(fixers, name)


@pytest.mark.parametrize("name", (*HEALING, *ABSTAINING, *MEDDLING))
@pytest.mark.parametrize(
    "promise", [suite.test_it_leaves_its_inputs_alone, suite.test_the_same_input_gives_the_same_fix]
)
def test_one_that_answers_keeps(fixers: dict[str, suite.MakeFixer], promise: Promise, name: str) -> None:
    promise(fixers, name)


@pytest.mark.parametrize("name", HEALING)
def test_one_that_heals_keeps(fixers: dict[str, suite.MakeFixer], name: str) -> None:
    suite.test_what_it_proposes_changes_the_code_and_only_what_it_names(fixers, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "applied") for name in HEALING),
        *((name, "abstained") for name in ABSTAINING),
        *((name, "failed") for name in FAILING),
        *((name, "refused") for name in MEDDLING),
    ],
)
def test_it_returns_a_fix_or_fails_and_the_guard_has_the_last_word(
    fixers: dict[str, suite.MakeFixer], name: str, expected: str
) -> None:
    suite.test_it_returns_a_fix_or_fails_and_the_guard_has_the_last_word(fixers, name, expected)


@pytest.mark.parametrize("name", EVERY)
def test_what_it_will_send_is_told_beforehand_and_stays_the_same(fixers: dict[str, suite.MakeFixer], name: str) -> None:
    given = (suite.INCIDENT, (suite.PASSAGE,), suite.TREE, suite.earlier())
    with fixers[name]() as fixer:
        assert isinstance(fixer, CommandFixer | LambdaFixer)
        told = fixer.prompt(*given)
        try:
            fixer.propose(*given)
        except ProposalFailed:
            assert name in FAILING
        assert fixer.prompt(*given) == told
    for text in (suite.INCIDENT.symptoms, suite.PASSAGE.title, "unused = True", "test_db.py"):
        assert text in told
