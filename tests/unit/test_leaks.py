"""The answer is found wherever it stands in what a fixer gets, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.fixing.prompt import render
from harness.git import git
from harness.leaks.needles import Needles, reference_lines, running_tree
from harness.leaks.offer import LEARNED, Offer, offered
from harness.leaks.scan import Leak, leaked
from harness.loading import LoadedScenario, load_scenario
from harness.model.fix import Attempt, Fix, WriteFile
from harness.model.globs import matches
from harness.model.incident import Incident, Passage
from harness.model.source import Deployment, SourceTree
from harness.model.window import RouteWindow, Window
from harness.retrieval.corpus import load_corpus
from harness.retrieval.learning import learnt_document
from harness.target.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yml"))
CHEATS = ("delete-route", "shed-load", "symlink")
FILE = ROOT / "scenarios" / "pool_exhaustion.yml"
LINE = min(reference_lines(load_scenario(FILE)))
INCIDENT = Incident(
    id="inc-3fa9c2d1",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="the app logs FAULT_DB_TIMEOUT; 27 of 40 requests in the last 1 s were bad",
    breadcrumbs=("release 3b05e46c9d0f is running", "signal: marker: FAULT_DB_TIMEOUT", "route browse: 30 arrivals"),
    logs=('{"level": "ERROR", "message": "FAULT_DB_TIMEOUT QueuePool limit", "route": "GET /products"}',),
    window=Window(index=9, start_s=9.0, end_s=10.0, routes={"browse": RouteWindow(ok=3, failed=27, p95_ms=2999.6)}),
    detected_at="2026-11-05T10:00:00Z",
)
PASSAGE = Passage(id="db-001", title="A pool ran dry", text="Pool exhaustion in the database.", score=1.0)
TREE = SourceTree(files={"shop/db.py": "pool = 3\n"}, commit="3b05e46c9d0f1e2a3b4c5d6e7f8091a2b3c4d5e6")
FIX = Fix(root_cause="no limit", edits=(WriteFile(path="shop/db.py", content="pool = 4\n"),), remediation="a limit")
ATTEMPT = Attempt(number=1, outcome="not_recovered", reason="9 of 30 requests were slow", fix=FIX)


@pytest.fixture(scope="module")
def loaded() -> LoadedScenario:
    return load_scenario(FILE)


@pytest.fixture(scope="module")
def needles(loaded: LoadedScenario) -> Needles:
    return Needles.of(loaded, cheats=CHEATS)


def offer(
    *,
    incident: Mapping[str, Any] | None = None,
    passages: Sequence[Passage] = (PASSAGE,),
    files: Mapping[str, str] | None = None,
    earlier: Sequence[Attempt] = (ATTEMPT,),
    prompt: str = "",
    environment: Mapping[str, str] | None = None,
    exposed: Sequence[tuple[str, bytes]] = (),
) -> Offer:
    tree = replace(TREE, files={**TREE.files, **(files or {})})
    return offered(
        replace(INCIDENT, **(incident or {})),
        passages,
        tree,
        earlier,
        prompt=prompt,
        environment=environment,
        exposed=exposed,
    )


def kinds(found: Sequence[Leak]) -> set[str]:
    return {leak.kind for leak in found}


def test_an_offer_as_it_should_be_holds_no_answer(needles: Needles) -> None:
    prompt = render(INCIDENT, [PASSAGE], TREE, [ATTEMPT]).text
    environment = {"PATH": "/usr/bin", "DATABASE_URL": "postgresql://127.0.0.1/app_1f"}
    exposed = [
        ("name: folder", b"/tmp/app-x/workspace"),
        ("text: git commit", b"Release of shop"),
        ("file: a", b"\xff"),
    ]
    assert leaked(offer(prompt=prompt, environment=environment, exposed=exposed), needles) == ()


TITLE = "A blocking query drains the connection pool"
PLANTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "name in the log": ({"incident": {"logs": ("x", "in Pool_Exhaustion_2")}}, "scenario's name", "incident.logs"),
    "name in the source": ({"files": {"a.py": "x\n# pool_exhaustion\n"}}, "scenario's name", "source a.py"),
    "name in a path": ({"files": {"pool_exhaustion.py": ""}}, "scenario's name", "paths of the source"),
    "name in a passage": (
        {"passages": (replace(PASSAGE, text="pool_exhaustion"),)},
        "scenario's name",
        "passage db-001",
    ),
    "name in why it failed": (
        {"earlier": (replace(ATTEMPT, reason="see results/pool_exhaustion-1/web.log"),)},
        "scenario's name",
        "attempt 1: reason",
    ),
    "name in hyphens": ({"incident": {"id": "inc-pool-exhaustion-1"}}, "scenario's name", "incident.id"),
    "name in the prompt alone": ({"prompt": "a\nb pool_exhaustion"}, "scenario's name", "prompt"),
    "name in the environment": (
        {"environment": {"OLDPWD": "/srv/scenarios/pool_exhaustion"}},
        "scenario's name",
        "environment OLDPWD",
    ),
    "name in a branch": (
        {"exposed": [("name: refs", b"refs/heads/main\nrefs/heads/pool_exhaustion")]},
        "scenario's name",
        "name: refs",
    ),
    "title in the symptoms": ({"incident": {"symptoms": f"why: {TITLE.upper()}"}}, "title", "incident.symptoms"),
    "title in a commit": ({"exposed": [("text: git commit", TITLE.encode())]}, "title", "text: git commit"),
    "class as a name": ({"incident": {"id": "inc-database-1"}}, "fault class", "incident.id"),
    "class as a variable": ({"environment": {"CLASS": "database"}}, "fault class", "environment CLASS"),
    "class as a value": (
        {"incident": {"breadcrumbs": ("release 1", "fault class: database")}},
        "fault class",
        "incident.breadcrumbs",
    ),
    "check's file": ({"incident": {"logs": ("test_pool.py failed",)}}, "name of a check", "incident.logs"),
    "patch": ({"exposed": [("file: .git/index", b"\0defect.patch\0")]}, "name of a patch", "file: .git/index"),
    "general cheat": ({"incident": {"breadcrumbs": ("as shed_load does",)}}, "name of a cheat", "incident.breadcrumbs"),
    "line in the source": ({"files": {"a.py": f"x = 1\ny = {LINE},\n"}}, "reference line", "source a.py"),
    "line in JSON": ({"incident": {"logs": (json.dumps({"trace": LINE}),)}}, "reference line", "incident.logs"),
    "line in the knowledge base": (
        {"passages": (replace(PASSAGE, text=f"do\n    {LINE}"),)},
        "reference line",
        "passage db-001",
    ),
    "line in an object of git": (
        {"exposed": [("file: git blob 1", b"\xff\n" + LINE.encode())]},
        "reference line",
        "file: git blob 1",
    ),
    "line in the prompt alone": ({"prompt": f"a\n{LINE}"}, "reference line", "prompt"),
}


@pytest.mark.parametrize(("planted", "kind", "where"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_answer_is_found(needles: Needles, planted: dict[str, Any], kind: str, where: str) -> None:
    found = leaked(offer(**planted), needles)
    assert kinds(found) == {kind}
    assert {leak.where for leak in found} == {where}
    for leak in found:
        assert leak.text and leak.text.lower() not in str(leak).replace(where, "").lower()


def test_a_leak_says_in_which_line(needles: Needles) -> None:
    (leak,) = leaked(offer(files={"a.py": f"x\n\n{LINE}\n"}), needles)
    assert str(leak) == "the reference line in source a.py, line 3"


NO_ANSWER: dict[str, dict[str, Any]] = {
    "the class in sentences": {
        "incident": {"symptoms": "the database is slow", "breadcrumbs": ("database release", "no database answers")}
    },
    "the class in the app's words": {
        "files": {"shop/database.py": "database: str = url('database')\n"},
        "incident": {"logs": ("database: gone",), "error_code": "FAULT_DATABASE"},
    },
    "the title as a past incident's": {"passages": (replace(PASSAGE, title=TITLE),)},
    "the name as English": {"passages": (replace(PASSAGE, text="pool-exhaustion, pool exhaustion"),)},
    "another word": {"files": {"a.py": "whirlpool_exhaustion = carpool_exhaustions = 1\n"}},
    "a cheat in the app": {"files": {"a.py": "def shed_load(): ... # delete-route, symlink\n"}},
    "a cheat of one word": {"incident": {"breadcrumbs": ("symlink: 1",)}},
    "the fixer's own fix": {
        "earlier": (
            replace(
                ATTEMPT,
                reason=f"canary: {LINE} in apply reference.patch",
                fix=replace(FIX, root_cause="cheat:shed-load", edits=(WriteFile(path="a.py", content=LINE),)),
                deployment=Deployment(number=1, commit="1", diff=f"+{LINE}\n+pool_exhaustion"),
            ),
        ),
        "incident": {"logs": (json.dumps({"trace": f"  {LINE}"}),)},
        "prompt": f"reference.patch {LINE}",
        "exposed": [("own: git blob", LINE.encode()), ("own: git commit", b"Attempt 1: apply reference.patch")],
    },
    "why the fixer gave nothing": {
        "earlier": (replace(ATTEMPT, fix=None, rule="proposal", reason=f"no file pool_exhaustion: {LINE}"),),
        "prompt": f"it failed: no file pool_exhaustion: {LINE}",
    },
    "what was learnt": {
        "passages": (replace(PASSAGE, id=f"{LEARNED}inc-1", text=f"apply reference.patch:\n+ {LINE}"),),
        "prompt": f"{LINE}",
    },
}


@pytest.mark.parametrize("harmless", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_what_tells_nothing_is_no_leak(needles: Needles, harmless: dict[str, Any]) -> None:
    assert leaked(offer(**harmless), needles) == ()


def test_what_the_fixer_wrote_excuses_nothing_in_what_it_is_shown_anew(needles: Needles) -> None:
    own = replace(ATTEMPT, fix=replace(FIX, edits=(WriteFile(path="a.py", content=LINE),)))
    found = leaked(offer(earlier=(own,), files={"shop/db.py": LINE}, prompt=LINE), needles)
    assert [leak.where for leak in found] == ["source shop/db.py"]


def test_a_learnt_incident_still_may_not_name_the_scenario(needles: Needles) -> None:
    learnt = replace(PASSAGE, id=f"{LEARNED}inc-1", text="in pool_exhaustion")
    assert kinds(leaked(offer(passages=(learnt,)), needles)) == {"scenario's name"}


def test_what_is_learnt_is_known_by_its_id() -> None:
    document, _ = learnt_document(INCIDENT, FIX)
    assert document.passage(1.0).id.startswith(LEARNED)


def test_a_scenario_of_ordinary_words_can_be_run(loaded: LoadedScenario) -> None:
    metadata = loaded.spec.metadata.model_copy(update={"name": "deadlock", "title": "Deadlock", "fault_class": ""})
    spec = loaded.spec.model_copy(update={"metadata": metadata})
    ordinary = Needles.of(replace(loaded, file=FILE.with_name("deadlock.yml"), spec=spec))
    said = {"logs": ("deadlock detected",), "symptoms": "a deadlock was seen", "breadcrumbs": ("deadlock",)}
    assert leaked(offer(incident=said), ordinary) == ()
    assert leaked(offer(incident={"id": "inc-deadlock-1"}), ordinary)


# the scenarios that ship


def test_lines_that_tell_nothing_are_no_needles(tmp_path: Path, loaded: LoadedScenario) -> None:
    patch = tmp_path / "reference.patch"
    patch.write_text("--- a/x\n+++ b/x\n+    pool_size=settings.db_pool_size,\n+  short = 1\n+ brand_new_line = True\n")
    assert reference_lines(replace(loaded, reference=patch)) == {"brand_new_line = True"}
    assert reference_lines(replace(loaded, reference=None)) == frozenset()


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_nothing_leaks_from_a_scenario_as_it_ships(tmp_path: Path, file: Path) -> None:
    """Its tree, the folder that runs with all of git's objects, and every past incident: all that a fixer could get."""
    loaded = load_scenario(file)
    needles = Needles.of(loaded, cheats=CHEATS)
    workspace = Workspace(tmp_path / "app-1" / "workspace", loaded.manifest)
    workspace.folder.parent.mkdir()
    workspace.create(loaded.app, loaded.defect)
    running = running_tree(loaded).files
    shown = {path: text for path, text in running.items() if matches(loaded.manifest.source, path)}
    if shown != workspace.source().files:  # a bad release
        workspace.rewrite(replace(workspace.source(), files=shown))
    tree = workspace.source()
    assert tree.files == shown
    passages = [document.passage(1.0) for document in load_corpus(loaded.kb)] if loaded.kb else []
    prompt = render(INCIDENT, passages, tree, [ATTEMPT]).text
    exposed = list(workspace.exposed())
    assert leaked(offered(INCIDENT, passages, tree, [ATTEMPT], prompt=prompt, exposed=exposed), needles) == ()
    if loaded.reference:
        assert any(needle.kind == "reference line" for needle in needles.all)
        git(workspace.folder, "apply", "-", stdin=loaded.reference.read_bytes())
        mended = kinds(leaked(offered(INCIDENT, [], workspace.source(), []), needles))
        git(workspace.folder, "hash-object", "-w", "--stdin", stdin=loaded.reference.read_bytes())
        git(workspace.folder, "checkout", "--", ".")
        dangling = kinds(leaked(offered(INCIDENT, [], tree, [], exposed=workspace.exposed()), needles))
        assert mended == dangling == {"reference line"}


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_no_past_incident_that_ships_holds_a_line_of_a_reference_patch(file: Path) -> None:
    lines = reference_lines(load_scenario(file))
    for document in sorted((ROOT / "kb").glob("*.md")):
        text = document.read_text().lower()
        assert [line for line in lines if line.lower() in text] == [], document.name
