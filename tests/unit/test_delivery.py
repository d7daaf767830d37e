"""Fixes that go live by a commit: into a real repository, past a real pipeline, and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from harness.cli.deliveries import command
from harness.delivery.audit import Audit, Entry, standing
from harness.delivery.pipeline import Pipeline
from harness.delivery.policy import STOP, STOP_FILE, require_leave, require_open
from harness.delivery.repository import Repository
from harness.delivery.target import DeliveredTarget, Delivery
from harness.errors import FixRefused, InputError, ScenarioError, ServiceUnavailable
from harness.git import git, init
from harness.loading import load_scenario
from harness.model.delivery import GitDelivery
from harness.model.fix import Attempt
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.model.verdict import CheckResult, Outcome, Verdict
from harness.services.supervisor import Supervisor
from harness.sinks.fanout import FanOut
from harness.trial.run import run_trial
from tests.e2e import tiny
from tests.world import CURE, TREE, WEAK, AnsweringFixer, CalledCheck, Simulation, fix, scenario

SURE = 0.9
INCIDENT = Incident(id="7f3a", error_code="SLO_BURN", symptoms="", breadcrumbs=(), logs=(), window=None, detected_at="")
USELESS = WEAK + "# no help\n"
PASSES = (sys.executable, "-c", "print('live')")
FAILS = (  # whatever is no revert
    sys.executable,
    "-c",
    "import os, subprocess\n"
    "what = ['--git-dir', os.environ['DELIVERY_REMOTE'], 'log', '-1', '--format=%s', os.environ['DELIVERY_COMMIT']]\n"
    "said = subprocess.check_output(['git', *what])\n"
    "print('3 failed, 1 passed'); raise SystemExit(not said.startswith(b'Revert'))",
)


class Owner:
    """Whoever owns the repository: a bare one, with the app in a folder of it."""

    def __init__(self, folder: Path) -> None:
        self.bare, self._clone = folder / "shop.git", folder / "clone"
        self._clone.mkdir(parents=True)
        init(self._clone)
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        git(self._clone, "remote", "add", "origin", str(self.bare))
        for path, content in TREE.files.items():
            self.write(f"apps/words/{path}", content)
        self.write("deploy/pipeline.yml", "steps: []\n")
        self.push("The first release")

    def write(self, path: str, content: str) -> None:
        (self._clone / path).parent.mkdir(parents=True, exist_ok=True)
        (self._clone / path).write_text(content)

    def push(self, message: str) -> None:
        git(self._clone, "add", "--all")
        git(self._clone, "commit", "--quiet", "--message", message)
        git(self._clone, "push", "--quiet", "origin", "HEAD:main")

    def pull(self) -> None:
        git(self._clone, "pull", "--quiet", "--ff-only", "origin", "main")

    def subjects(self) -> list[str]:
        """Of all commits, the newest first."""
        return git(self.bare, "log", "--format=%s", "main").splitlines()

    def trailers(self) -> dict[str, str]:
        """Of the newest commit, as git itself reads them."""
        said = git(self.bare, "log", "-1", "--format=%(trailers:only,unfold)", "main")
        return dict(line.split(": ", 1) for line in said.splitlines() if line)

    def content(self, path: str) -> str:
        return git(self.bare, "show", f"main:{path}")


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path / "owner")


def spec(owner: Owner, **changes: object) -> GitDelivery:
    given = {
        "mode": "git",
        "remote": str(owner.bare),
        "folder": "apps/words",
        "pipeline": PASSES,
        "minConfidence": 0.5,
        "protected": ["deploy/**"],
        **changes,
    }
    return GitDelivery.model_validate(given)


def made_by(supervisor: Supervisor, wanted: GitDelivery, trial: str, results: Path, folder: Path) -> Delivery:
    pipeline = Pipeline(wanted, supervisor=supervisor, logs=folder / "logs")
    return Delivery(wanted, trial=trial, results=results, folder=folder / "repository", pipeline=pipeline)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[GitDelivery], Delivery]]:
    """One trial's deliveries, with results in a folder of their own."""
    with Supervisor() as supervisor:
        yield lambda wanted: made_by(supervisor, wanted, "t", tmp_path, tmp_path / "t")


def run(simulation: Simulation, wanted: GitDelivery, results: Path, *, number: int = 1) -> Verdict:
    """One trial, as `harness.wiring` would have it."""
    name = f"trial-{number}"
    with Supervisor() as supervisor, made_by(supervisor, wanted, name, results, results / name) as delivery:
        simulation.emit, simulation.permit = FanOut([simulation.sink, delivery]), delivery.permit
        simulation.scenario = simulation.scenario.model_copy(update={"deploy": wanted})
        world = simulation.world()
        return run_trial(replace(world, target=DeliveredTarget(world.target, delivery)))


def delivered(delivery: Delivery, content: str = CURE) -> str:
    """What a trial does for one attempt. The commit."""
    sure = Attempt(number=1, outcome="failed", reason="", combined_confidence=SURE)
    delivery.permit(INCIDENT, sure)
    return delivery.deliver(TREE, TREE.with_files({**TREE.files, "app.py": content}), "A fix")


def actions(results: Path) -> list[str]:
    return [entry.action for entry in Audit(results).entries()]


def test_a_fix_that_heals_is_one_commit_of_the_bot_and_stays(owner: Owner, tmp_path: Path) -> None:
    verdict = run(Simulation(AnsweringFixer(fix(confidence=SURE))), spec(owner), tmp_path)
    assert verdict.outcome is Outcome.HEALED
    assert owner.content("apps/words/app.py") == CURE
    assert owner.subjects() == ["Attempt 1: it waits for ever", "The first release"]
    trailers = owner.trailers()
    incident = next(entry.incident for entry in Audit(tmp_path).entries())
    assert trailers["Incident"] == incident and float(trailers["Confidence"]) == pytest.approx(SURE, abs=0.01)
    assert "not seen live yet" in trailers["Verdict-so-far"]
    assert trailers["Signed-off-by"] == "CreamAndOnion <bot@localhost>"
    author = git(owner.bare, "log", "-1", "--format=%an <%ae> %cn", "main").strip()
    assert author == "CreamAndOnion <bot@localhost> CreamAndOnion"
    assert actions(tmp_path) == ["pushed", "passed", "kept"]
    assert {entry.commit for entry in Audit(tmp_path).entries()} == {git(owner.bare, "rev-parse", "main").strip()}


def test_only_what_the_fix_changes_is_changed(owner: Owner, tmp_path: Path) -> None:
    owner.write("apps/words/template.html", "<p>")
    owner.push("A page that the fixer does not see")
    run(Simulation(AnsweringFixer(fix(confidence=SURE))), spec(owner), tmp_path)
    assert git(owner.bare, "diff", "--name-only", "main~1", "main").split() == ["apps/words/app.py"]


def test_a_fix_that_does_not_help_is_reverted_by_a_commit(owner: Owner, tmp_path: Path) -> None:
    simulation = Simulation(AnsweringFixer(fix(USELESS, confidence=SURE), fix(confidence=SURE)))
    verdict = run(simulation, spec(owner), tmp_path)
    assert verdict.outcome is Outcome.HEALED and len(verdict.attempts) == 2
    incident = Audit(tmp_path).entries()[0].incident
    assert owner.subjects() == [
        "Attempt 2: it waits for ever",
        f"Revert the fix for incident {incident}",
        "Attempt 1: it waits for ever",
        "The first release",
    ]
    assert actions(tmp_path) == ["pushed", "passed", "reverted", "pushed", "passed", "kept"]


def test_a_fix_that_a_hidden_check_finds_wrong_does_not_stay(owner: Owner, tmp_path: Path) -> None:
    wrong = CheckResult(name="orders are kept", passed=False, evidence="2 of 5 are gone")
    simulation = Simulation(AnsweringFixer(fix(confidence=SURE)), checks=(CalledCheck(lambda: (wrong,)),))
    verdict = run(simulation, spec(owner), tmp_path)
    assert verdict.outcome is Outcome.NOT_HEALED and verdict.attempts[0].outcome == "recovered"
    assert owner.content("apps/words/app.py") == WEAK and len(owner.subjects()) == 3
    assert actions(tmp_path)[-1] == "reverted"


def test_a_trial_that_is_interrupted_leaves_nothing_behind(owner: Owner, tmp_path: Path) -> None:
    simulation = Simulation(AnsweringFixer(fix(USELESS, confidence=SURE)))

    def interrupt() -> None:
        if any(entry.action == "passed" for entry in Audit(tmp_path).entries()):
            raise KeyboardInterrupt

    simulation.look = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(simulation, spec(owner), tmp_path)
    assert owner.content("apps/words/app.py") == WEAK
    assert actions(tmp_path) == ["pushed", "passed", "reverted"]


def test_what_the_pipeline_does_not_pass_is_taken_back_and_counts_against_the_fix(owner: Owner, tmp_path: Path) -> None:
    simulation = Simulation(AnsweringFixer(*[fix(confidence=SURE)] * 3))
    verdict = run(simulation, spec(owner, pipeline=FAILS), tmp_path)
    assert verdict.outcome is Outcome.NOT_HEALED
    assert {attempt.outcome for attempt in verdict.attempts} == {"canary_failed"}
    assert "3 failed, 1 passed" in verdict.attempts[0].reason
    assert actions(tmp_path) == ["pushed", "failed", "reverted"] * 3 and owner.content("apps/words/app.py") == WEAK


@pytest.mark.parametrize("code", ["raise SystemExit(7)", "import time; time.sleep(60)"])
def test_a_pipeline_that_says_nothing_measures_nothing(
    owner: Owner, tmp_path: Path, code: str, make: Callable[[GitDelivery], Delivery]
) -> None:
    wanted = spec(owner, pipeline=[sys.executable, "-c", code], within="0.5s")
    with (
        pytest.raises(ServiceUnavailable, match="the pipeline"),
        make(wanted) as delivery,
    ):
        delivered(delivery)
    assert owner.content("apps/words/app.py") == WEAK and actions(tmp_path) == ["pushed", "reverted"]


def test_the_pipeline_is_told_what_to_wait_for(owner: Owner, tmp_path: Path) -> None:
    code = "import os; print(*(os.environ[f'DELIVERY_{n}'] for n in ('COMMIT', 'BRANCH', 'REMOTE')))"
    run(Simulation(AnsweringFixer(fix(confidence=SURE))), spec(owner, pipeline=[sys.executable, "-c", code]), tmp_path)
    said = next(entry for entry in Audit(tmp_path).entries() if entry.action == "passed")
    assert said.reason == f"{said.commit} main {owner.bare}"


def the_stop_file(owner: Owner) -> None:
    owner.write(STOP_FILE, "The bot has to wait for the audit.\n")
    owner.push("Stop the bot")


def the_owner_moves_on(owner: Owner) -> None:
    owner.write("apps/words/app.py", WEAK + "# new\n")
    owner.push("A release that does not run here")


@pytest.mark.parametrize(
    ("happens", "changes", "confidence", "rule"),
    [
        (the_stop_file, {}, SURE, "stopped"),
        (None, {}, 0.2, "floor"),
        (None, {}, None, "floor"),
        (None, {"minConfidence": 1.0}, SURE, "floor"),
        (the_owner_moves_on, {}, SURE, "drift"),
        (None, {"protected": ["apps/**/app.py"]}, SURE, "protected"),
        (None, {"protected": ["APPS/words/**"]}, SURE, "protected"),
    ],
)
def test_what_may_not_go_out_does_not(
    owner: Owner,
    tmp_path: Path,
    happens: Callable[[Owner], None] | None,
    changes: dict[str, object],
    confidence: float | None,
    rule: str,
) -> None:
    if happens:
        happens(owner)
    before = owner.subjects()
    verdict = run(Simulation(AnsweringFixer(*[fix(confidence=confidence)] * 3)), spec(owner, **changes), tmp_path)
    assert verdict.outcome is Outcome.NOT_HEALED and owner.subjects() == before
    entries = Audit(tmp_path).entries()
    assert {entry.action for entry in entries} == {"refused"} and entries[0].reason.startswith(f"{rule}: ")


def test_whoever_runs_the_harness_can_stop_it_too(owner: Owner) -> None:
    with pytest.raises(FixRefused, match=STOP):
        require_leave(spec(owner), [], confidence=1.0, stopped=False, environ={STOP: "1"})


def entry(owner: Owner, at: datetime, **changes: object) -> Entry:
    facts = {"action": "pushed", "trial": "t", "remote": str(owner.bare), "branch": "main", "commit": at.isoformat()}
    return Entry(**{"at": at.isoformat(), **facts, **changes})  # type: ignore[arg-type]


def test_so_many_commits_in_a_day_are_enough_whatever_became_of_them(owner: Owner) -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    old, new = now - timedelta(hours=25), now - timedelta(hours=23)
    entries = [
        done
        for at in (old, old + timedelta(seconds=1), new)
        for done in (entry(owner, at), entry(owner, at, action="reverted"))
    ]

    def leave(per_day: int, **changes: object) -> None:
        require_leave(
            spec(owner, perDay=per_day, **changes), entries, confidence=1.0, stopped=False, now=now, environ={}
        )

    leave(2)
    with pytest.raises(FixRefused, match="1 fixes went out"):
        leave(1)
    leave(1, branch="staging")


def test_an_undecided_fix_keeps_the_next_one_waiting(owner: Owner, tmp_path: Path) -> None:
    before = entry(owner, datetime.now(UTC), commit="1f3a9c2" * 5)
    Audit(tmp_path).append(before)
    verdict = run(Simulation(AnsweringFixer(*[fix(confidence=SURE)] * 3)), spec(owner), tmp_path)
    assert "nobody has decided" in verdict.attempts[0].reason and verdict.attempts[0].rule == "policy.undecided"
    done = CliRunner().invoke(command, ["--results", str(tmp_path), "--keep", "1f3a9c2"])
    assert done.exit_code == 0 and not standing(Audit(tmp_path).entries())


def test_a_killed_trials_fix_is_taken_back_by_hand(
    owner: Owner, tmp_path: Path, make: Callable[[GitDelivery], Delivery]
) -> None:
    results, delivery = tmp_path, make(spec(owner))
    commit = delivered(delivery)
    owner.pull()
    owner.write("README.md", "Words\n")
    owner.push("Somebody works on")
    shown = CliRunner().invoke(command, ["--results", str(results)])
    assert "[undecided]" in shown.output and commit[:12] in shown.output
    done = CliRunner().invoke(command, ["--results", str(results), "--revert", commit[:7]])
    assert done.exit_code == 0, done.output
    assert owner.content("apps/words/app.py") == WEAK and owner.content("README.md") == "Words\n"
    again = CliRunner().invoke(command, ["--results", str(results), "--revert", commit[:7]])
    assert isinstance(again.exception, InputError)


def test_what_somebody_has_changed_since_is_not_overwritten(
    owner: Owner, tmp_path: Path, make: Callable[[GitDelivery], Delivery]
) -> None:
    delivery = make(spec(owner))
    delivered(delivery)
    owner.pull()
    owner.write("apps/words/app.py", CURE + "# and mine\n")
    owner.push("On top of it")
    with pytest.raises(ServiceUnavailable, match="has been changed since the fix"):
        delivery.take_back("users were no better off")
    assert owner.content("apps/words/app.py").endswith("# and mine\n")
    assert standing(Audit(tmp_path).entries())


def test_a_new_file_goes_and_a_deleted_one_comes_back(owner: Owner, tmp_path: Path) -> None:
    repository = Repository(spec(owner), tmp_path / "clone")
    base = repository.head()
    commit = repository.commit(base, {"faults.py": None, "new.py": "NEW = 1\n"}, "A fix")
    repository.push(commit)
    names = git(owner.bare, "ls-tree", "-r", "--name-only", "main").split()
    assert "apps/words/new.py" in names and "apps/words/faults.py" not in names
    repository.push(repository.reverted(commit, base, "Back"))
    assert not git(owner.bare, "diff", "main~2", "main")


def test_of_two_who_push_at_once_one_is_told_to_try_again(owner: Owner, tmp_path: Path) -> None:
    mine = Repository(spec(owner), tmp_path / "mine")
    base = mine.head()
    commit = mine.commit(base, {"app.py": CURE}, "Mine")
    owner.write("README.md", "Words\n")
    owner.push("Theirs")
    with pytest.raises(FixRefused) as refused:
        mine.push(commit)
    assert refused.value.rule == "moved" and owner.subjects()[0] == "Theirs"


def test_a_link_in_the_repository_is_not_written_through(owner: Owner, tmp_path: Path) -> None:
    link = owner.bare.parent / "clone" / "apps/words/linked.py"
    link.symlink_to("/etc/passwd")
    owner.push("A link")
    repository = Repository(spec(owner), tmp_path / "clone")
    with pytest.raises(FixRefused, match="no plain file"):
        repository.commit(repository.head(), {"linked.py": "x = 1\n"}, "A fix")


def test_a_repository_that_is_not_there_is_told_with_a_cure(owner: Owner, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"cannot be fetched(.|\n)*deploy\.remote"):
        Repository(spec(owner, remote=str(tmp_path / "nowhere")), tmp_path / "clone").head()


@pytest.mark.parametrize("how", ["changed", "taken out", "cut"])
def test_a_log_that_was_touched_stops_everything(owner: Owner, tmp_path: Path, how: str) -> None:
    audit = Audit(tmp_path)
    for minute in range(3):
        audit.append(entry(owner, datetime(2026, 11, 28, 12, minute, tzinfo=UTC), action="refused"))
    lines = audit.path.read_bytes().splitlines(keepends=True)
    changed = json.dumps({**json.loads(lines[1]), "reason": "all is well"}).encode() + b"\n"
    audit.path.write_bytes(
        b"".join({"changed": [lines[0], changed, lines[2]], "taken out": [lines[0], lines[2]]}.get(how, lines))[
            : -1 if how == "cut" else None
        ]
    )
    with pytest.raises(ServiceUnavailable, match=r"deliveries\.jsonl:[23]"):
        audit.entries()
    with pytest.raises(ServiceUnavailable):
        audit.append(entry(owner, datetime.now(UTC)))


def test_protected_paths_are_those_of_the_repository(owner: Owner) -> None:
    require_open(spec(owner), ["apps/words/app.py"])
    with pytest.raises(FixRefused, match=r"deploy/pipeline\.yml"):
        require_open(spec(owner), ["apps/words/app.py", "deploy/pipeline.yml"])


@pytest.mark.parametrize(
    "remote",
    [
        "--upload-pack=touch /tmp/x",
        "ext::sh -c true",
        "ftp://host/x",
        "https://bot:secret@host/x",
        "https://ghp_secret@host/x",
        "a\nb",
    ],
)
def test_a_remote_that_could_run_something_or_tells_a_secret_is_refused(remote: str) -> None:
    with pytest.raises(ValidationError):
        GitDelivery.model_validate({"mode": "git", "remote": remote, "pipeline": ["true"], "minConfidence": 0.5})


def test_a_floor_has_to_be_stated() -> None:
    with pytest.raises(ValidationError, match="minConfidence"):
        scenario(deploy={"mode": "git", "remote": "x", "pipeline": ["true"]})


def test_a_bad_release_is_nothing_to_push() -> None:
    with pytest.raises(ValidationError, match="a bad release"):
        scenario(
            method=[{"action": "defect", "patch": "bad.patch"}],
            deploy={"mode": "git", "remote": "x", "pipeline": ["true"], "minConfidence": 0.5},
        )


def test_a_canary_that_fails_after_the_pipeline_is_taken_back(owner: Owner, tmp_path: Path) -> None:
    def ill(tree: SourceTree) -> None:
        raise FixRefused("the canary did not get healthy", rule="canary")

    simulation = Simulation(AnsweringFixer(*[fix(confidence=SURE)] * 3))
    simulation.target.canary = ill
    verdict = run(simulation, spec(owner), tmp_path)
    assert verdict.outcome is Outcome.NOT_HEALED and actions(tmp_path) == ["pushed", "passed", "reverted"] * 3
    assert owner.content("apps/words/app.py") == WEAK


@pytest.mark.parametrize("folder", ["/etc", "../other", "apps/../../other", ".git/hooks", "a\nb"])
def test_a_folder_lies_in_the_repository(owner: Owner, folder: str) -> None:
    with pytest.raises(ValidationError, match="not a folder of the repository"):
        spec(owner, folder=folder)


def test_a_path_that_git_does_not_take_is_the_fix_s_fault(
    owner: Owner, tmp_path: Path, make: Callable[[GitDelivery], Delivery]
) -> None:
    delivery = make(spec(owner))
    delivery.permit(INCIDENT, Attempt(number=1, outcome="failed", reason="", combined_confidence=SURE))
    after = TREE.with_files({**TREE.files, ".git/config": "[core]\n"})
    with pytest.raises(FixRefused, match="cannot be committed"):
        delivery.deliver(TREE, after, "A fix")
    assert actions(tmp_path) == ["refused"] and owner.subjects() == ["The first release"]


def test_what_a_pipeline_prints_is_kept_without_our_secrets(
    owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[GitDelivery], Delivery]
) -> None:
    monkeypatch.setenv("DELIVERY_TOKEN", "ghp_" + "a1B2" * 9)
    wanted = spec(owner, pipeline=[sys.executable, "-c", "import os; print(os.environ['DELIVERY_TOKEN'])"])
    delivered(make(wanted))
    assert "a1B2a1B2" not in Audit(tmp_path).path.read_text()


def test_what_would_only_be_found_out_after_a_push_is_asked_first(
    owner: Owner, tmp_path: Path, make: Callable[[GitDelivery], Delivery]
) -> None:
    with pytest.raises(InputError, match=r"deploy\.pipeline: no program"), make(spec(owner, pipeline=["./no-such"])):
        pass
    Audit(tmp_path).path.write_text("{}\n")
    with pytest.raises(ServiceUnavailable, match=r"deliveries\.jsonl:1"), make(spec(owner)):
        pass


def test_once_a_trial_is_over_nothing_is_pushed_any_more(
    owner: Owner, tmp_path: Path, make: Callable[[GitDelivery], Delivery]
) -> None:
    with make(spec(owner)) as delivery:
        pass
    with pytest.raises(FixRefused, match="the trial is over"):
        delivered(delivery)  # as an attempt does that Ctrl-C has left on its thread
    assert owner.subjects() == ["The first release"]


def test_an_error_about_a_remote_does_not_print_its_secret(tmp_path: Path) -> None:
    deploy = {"mode": "git", "remote": "https://bot:s3cret@host/x", "pipeline": ["true"], "minConfidence": 0.5}
    file = tiny.make(tmp_path, deploy=deploy)
    with pytest.raises(ScenarioError, match=r"deploy\.remote") as told:
        load_scenario(file)
    assert "s3cret" not in str(told.value) and "https://...@host/x" in str(told.value)
