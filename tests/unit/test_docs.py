"""The documentation against the code: what is not documented, and what is no longer true, fails here."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import shutil
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args, get_origin

import click
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import harness
from harness import errors, ports
from harness.catalogue import FIXERS
from harness.cli import cli
from harness.faults.memory import MemoryFault
from harness.fixing.guard import Rule, apply
from harness.fixing.remedies import REMEDIES
from harness.fixing.review import RULES
from harness.fixing.scripted import ReferenceFixer
from harness.git import patched
from harness.loading import LoadedScenario, load_scenario
from harness.model import event
from harness.model.app import AppManifest
from harness.model.experiment import Experiment
from harness.model.faults import DefectFault
from harness.model.fix import AttemptOutcome
from harness.model.place import EcsPlace
from harness.model.scenario import Scenario
from harness.model.schema import seconds
from harness.model.source import SourceTree
from harness.model.verdict import Outcome, Times, Verdict
from harness.retrievers import ARMS, RETRIEVERS
from harness.sinks import terms
from harness.sinks.journal import Journal
from harness.sinks.screen import BARS
from harness.target.workspace import Workspace
from harness.trial.judge import Facts, judge
from tests import events as sample

ROOT = Path(harness.__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
READ_TOO = [ROOT / "kb" / "README.md", ROOT / "target_app" / "README.md"]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yml"))
OTHER_PROGRAMS = {"git"}  # what the examples call beside make, Python and the harness
OURS = ["harness", "tests", "docs", "scenarios", "target_app", "mock_api", "kb", "benchmarks", ".ci"]

Row = tuple[str, ...]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(markdown: str) -> list[Row]:
    """The cells of every table row, without backticks."""
    lines = [line for line in markdown.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip("`") for cell in re.split(r" *\| *", line)[1:-1]) for line in lines]


def blocks(language: str) -> list[tuple[str, str]]:
    """Fenced code of a language: the document's name, the code."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(doc.name, code) for doc in DOCS for code in pattern.findall(doc.read_text(encoding="utf-8"))]


def mentioned(markdown: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", markdown))


# --- scenario files and manifests


def keys(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        path = f"{at}{field.alias or name}"
        yield path, field
        for suffix, inner in nested(field.annotation):
            yield from keys(inner, f"{path}{suffix}.")


def nested(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    inside = {tuple: "[]", dict: ".NAME"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        for suffix, model in nested(argument):
            action = model.model_fields.get("action")
            yield f"[{get_args(action.annotation)[0]}]" if action else inside + suffix, model


def default_of(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if isinstance(value, BaseModel):
        return "its defaults"
    if any(getattr(item, "func", None) is seconds for item in field.metadata):
        return f"{value:g}s"
    match value:
        case None:
            return "none"
        case bool() | tuple() | dict() | "":
            return json.dumps(value)
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(("heading", "model"), [("## Scenario", Scenario), ("## App manifest", AppManifest)])
def test_every_key_is_documented_with_its_default_and_no_other(heading: str, model: type[BaseModel]) -> None:
    section = text("docs/scenarios.md").split(f"\n{heading}\n")[1].split("\n## ")[0]
    documented = {row[0]: row[2] for row in rows(section)}
    assert documented == {path: default_of(field) for path, field in keys(model)}


def test_the_schema_that_editors_use_is_the_code_s() -> None:
    printed = CliRunner().invoke(cli, ["validate", "--schema"]).output
    assert text("scenarios/schema.json") == printed, "run make schema"


def test_yaml_examples_are_valid(tmp_path: Path) -> None:
    found = [(doc, yaml.safe_load(code)) for doc, code in blocks("yaml")]
    others: dict[str, type[BaseModel]] = {"arms": Experiment, "cluster": EcsPlace}  # by a key that they alone have
    for key, model in others.items():
        (of_kind,) = [data for _, data in found if key in data]
        model.model_validate(of_kind)
    whole = [(doc, data) for doc, data in found if not others.keys() & data.keys()]
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    shutil.copytree(ROOT / "target_app", tmp_path / "target_app")
    for _, app in (pair for pair in whole if "web" in pair[1]):
        AppManifest.model_validate(app)
        (tmp_path / app["name"]).mkdir()
        (tmp_path / app["name"] / "app.yml").write_text(yaml.safe_dump(app))
    scenarios = [(doc, data) for doc, data in whole if "web" not in data]
    for doc, data in scenarios:
        file = tmp_path / "scenarios" / f"example-{doc}.yml"
        file.write_text(yaml.safe_dump(data))
        load_scenario(file)
    assert scenarios, "the example is gone"


def test_python_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder that looks like the checkout, since they may write."""
    for name in ("kb", "scenarios", "target_app", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PORT", "8000")
    monkeypatch.chdir(tmp_path)
    for doc, code in blocks("python"):
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(code, doc, "exec"), names)
        if "MyFixer" in names:
            tree = prepared(load_scenario(SCENARIOS[0]))[0]
            fix = names["MyFixer"]().propose(None, (), tree, ())
            assert apply(tree, fix).files != tree.files


# --- the command line


def commands(command: click.Command, name: str = "harness") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or name == "harness":
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner
            yield from commands(inner, f"{name} {word}")


def test_every_command_and_option_is_documented_with_its_default_and_no_other() -> None:
    sections = dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", text("docs/commands.md"), re.MULTILINE | re.DOTALL))
    known = dict(commands(cli))
    assert sections.keys() == known.keys()
    for name, command in known.items():
        table = {row[0]: row[1] for row in rows(sections[name])}
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert set(table) == {option.opts[-1] for option in options} | ({"-h`, `--help"} & set(table)), name
        for option in options:
            if option.show_default:
                assert table[option.opts[-1]] == str(option.default), (name, option.opts)
        for argument in (param for param in command.params if isinstance(param, click.Argument)):
            assert argument.make_metavar(click.Context(command)).strip("[].") in mentioned(sections[name]), name


def test_fixers_retrievers_remedies_and_variables_are_documented() -> None:
    source = "".join(file.read_text() for file in (ROOT / "harness").rglob("*.py"))
    variables = set(re.findall(r"environ(?:\.get\(|, )\"([A-Z_]+)\"", source)) - {"PATH", "TERM"}
    assert "DATABASE_URL" in variables, "the search finds nothing any more"
    assert {*FIXERS, *RETRIEVERS, *ARMS, *variables} - mentioned(text("docs/commands.md")) == set()
    assert REMEDIES.keys() - mentioned(text("kb/README.md")) == set()


def test_exit_codes_are_documented() -> None:
    table = {row[0]: row[1] for row in rows(text("docs/verdicts.md"))}
    for outcome in Outcome:
        assert table[outcome] == str(outcome.exit_code)
        (line,) = (line for line in text("README.md").splitlines() if line.startswith(f"| {outcome.exit_code} |"))
        assert f"`{outcome}`" in line


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    for doc, code in blocks("sh"):
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            words = words[: next((at for at, word in enumerate(words) if word in (">", "|", "&&")), len(words))]
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words:
                yield f"{doc}: {line}", [words[0].removeprefix(".venv/bin/"), *words[1:]]


def test_shell_examples_name_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = {re.split(r"\n|# ", code)[1].strip() for _, code in blocks("(?:yaml|python)") if code.startswith("# ")}
    targets = re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE)
    seen = set()
    for where, (program, *words) in shell_lines():
        seen.add(program)
        if program == "harness":
            parse(words)
        elif program == "make":
            assert {word for word in words if "=" not in word} <= set(targets), where
        elif program == "python" and words[0] == "-m":
            assert importlib.util.find_spec(words[1]), where
        else:
            assert program in OTHER_PROGRAMS or program == "python" or (ROOT / program).is_file(), where
        for word in words:
            is_file = re.fullmatch(r"[\w.-]*(/[\w.-]+)+|[\w-]+\.(yml|py|md)", word) and not re.search("[A-Z]{4}", word)
            assert not is_file or word in own or (ROOT / word).exists(), where
    assert {"harness", "make", "python"} <= seen, "the search finds nothing any more"


def parse(words: list[str]) -> None:
    """What click makes of it, without running anything. UsageError where it is wrong."""
    command: click.Command | None = cli
    while isinstance(command, click.Group) and words:
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
    assert command, words
    command.make_context("example", list(words))


# --- verdicts, errors, design


def test_outcomes_checks_and_fields_are_documented() -> None:
    facts = Facts(trial=sample.trial(), injected_s=0.0, faults=(MemoryFault().check(),), withdrawn="", ended_s=1.0)
    loaded = [load_scenario(file).spec for file in SCENARIOS]
    assert {spec.metadata.control for spec in loaded} == {False, True}
    checks = {check.name.split(" (")[0] for spec in loaded for check in judge(spec, facts).checks}
    assert "no relapse" in checks
    fields = {field.name for kind in (Verdict, Times) for field in dataclasses.fields(kind)}
    words = {*Outcome, *checks, *fields, *get_args(AttemptOutcome), *get_args(Rule), *RULES}
    assert words - mentioned(text("docs/verdicts.md")) == set()


def test_phases_are_documented() -> None:
    source = "".join(file.read_text() for file in (ROOT / "harness" / "trial").glob("*.py"))
    phases = re.findall(r"\.phase\(\"(\w+)\"\)", source)
    (row,) = (row for row in rows(text("docs/verdicts.md")) if row[0] == "phases")
    assert set(re.findall(r"\w+", row[1].split(":")[1])) == set(phases)


def test_what_mlflow_keeps_is_documented_and_no_more() -> None:
    section = text("docs/metrics.md").split("\n## In MLflow\n")[1].split("\n## ")[0]
    tables = {"parameter": terms.PARAMS, "tag": terms.TAGS, "metric": terms.METRICS, "series": terms.SERIES}
    for head, table in tables.items():
        lines = section.split(f"| {head} | is |\n|---|---|\n")[1].split("\n\n")[0].strip().splitlines()
        assert lines == [f"| `{name}` | {meaning} |" for name, meaning in table.items()]


def test_every_error_has_a_heading_with_its_cure() -> None:
    known = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert set(re.findall(r"^### `(\w+)`", text("docs/troubleshooting.md"), re.MULTILINE)) == known


def test_seams_and_events_are_documented() -> None:
    seams = {name for name, value in vars(ports).items() if getattr(value, "_is_protocol", False)} - {"Protocol"}
    kinds = {kind.__name__ for kind in get_args(event.Event)}
    assert {*seams, *kinds, "Sink"} - mentioned(text("docs/design.md")) == set()


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert "```text\n" + "\n".join(layers) + "\n```" in text("CONTRIBUTING.md")


def test_every_benchmark_stands_beside_its_figure() -> None:
    for file in (ROOT / "benchmarks").glob("*.py"):
        if "__main__" in file.read_text():
            assert re.search(rf"benchmarks[./]{file.stem}\b", text("docs/figures.md")), file.name


# --- links, paths, the picture


def prose(markdown: str) -> str:
    return re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("doc", DOCS + READ_TOO, ids=lambda doc: doc.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_somewhere(doc: Path) -> None:
    markdown = prose(doc.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", markdown):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = doc.parent / path if path else doc
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
    for span in mentioned(markdown):
        if re.fullmatch(rf"({'|'.join(map(re.escape, OURS))})/[\w./-]*", span) and "NAME" not in span:
            assert (ROOT / span).exists(), span


def test_nothing_tells_of_the_machine_it_was_made_on() -> None:
    for file in [*DOCS, *READ_TOO, ROOT / "docs" / "run.svg", ROOT / "LICENSE"]:
        found = re.search(r"(?<![\w.])/(work|tmp|root|home|Users)\b[^\s<]*", file.read_text(encoding="utf-8"))
        assert not found, f"{file.name}: {found and found[0]}"


def picture_script() -> Any:  # noqa: ANN401 - a module that no package holds
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    drawn = text("docs/run.svg")
    assert set(re.findall(r"https?://[^\"'\s<]+", drawn)) == {"http://www.w3.org/2000/svg"}
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", drawn))
    shown = "".join(ET.fromstring(drawn).itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "H E A L E D" in shown
    assert "fault injected" in shown


def test_a_picture_is_drawn_from_a_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw, folder, out = picture_script(), tmp_path / "trial", tmp_path / "run.svg"
    with Journal(folder) as journal:
        for each in sample.healed():
            journal(each)
    shutil.copyfile(SCENARIOS[0], folder / "scenario.yml")
    assert draw.main([str(folder), "--out", str(out)]) == 0
    shown = "".join(ET.parse(out).getroot().itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "H E A L E D" in shown
    assert set(BARS) & set(shown), "no windows"
    assert str(tmp_path) not in shown
    (folder / "events.jsonl").write_text("")
    assert draw.main([str(folder), "--out", str(out)]) == errors.InputError.exit_code
    assert "no trial that has ended" in capsys.readouterr().err


# --- what a scenario ships


def prepared(loaded: LoadedScenario) -> tuple[SourceTree, SourceTree]:
    """The sound app, and the app as it runs once the fault is on."""
    with TemporaryDirectory() as name:
        trees = []
        for number, defect in enumerate((None, loaded.defect)):
            workspace = Workspace(Path(name) / str(number), loaded.manifest)
            workspace.create(loaded.app, defect)
            trees.append(workspace.source())
    sound, broken = trees
    for fault in loaded.spec.method:
        if isinstance(fault, DefectFault):
            broken = patched(broken, loaded.path(fault.patch).read_text(encoding="utf-8"))
    return sound, broken


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_reference_undoes_the_defect_and_passes_the_guard(file: Path) -> None:
    loaded = load_scenario(file)
    sound, broken = prepared(loaded)
    if loaded.spec.metadata.control:
        assert loaded.reference is None
        return
    assert broken.files != sound.files
    assert loaded.reference
    fix = ReferenceFixer(loaded.reference).propose(sample.incident(), (), broken, ())
    assert apply(broken, fix).files == sound.files


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_every_scenario_has_checks_of_its_own_and_stands_in_the_readme(file: Path) -> None:
    loaded = load_scenario(file)
    assert any(list(folder.glob("test_*.py")) for folder in loaded.checks if folder.parent.name == file.stem)
    assert file.stem == loaded.spec.metadata.name
    assert file.stem in mentioned(text("README.md"))
    assert loaded.cheats and len(list(loaded.cheats.glob("*.patch"))) >= 3
