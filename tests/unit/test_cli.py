"""The command line: what it says, how fast it starts, and with which code it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.fixing.cheats import CHEATS

ROOT = Path(__file__).resolve().parents[2]
GOOD = ROOT / "scenarios" / "pool_exhaustion.yml"
HEAVY = [
    "mlflow",
    "locust",
    "google",
    "pandas",
    "sqlalchemy",
    "pydantic",
    "rich",
    "numpy",
    "yaml",
    "httpx",
    "libcst",
    "bm25s",
]
COMMANDS = [
    "run",
    "demo",
    "sweep",
    "compare",
    "calibration",
    "nightly",
    "report",
    "export",
    "validate",
    "resume",
    "rejudge",
    "list",
    "kb",
    "deliveries",
    "dashboard",
    "alert",
    "ui",
    "doctor",
]


def harness(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``harness`` as a user starts it, in ``folder``."""
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def leaves(group: click.Group, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found += leaves(command, (*before, name)) if isinstance(command, click.Group) else [(*before, name)]
    return found


# --- help ---


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.cli\n"
        "try:\n    sys.argv = ['harness', '--help']; harness.cli.main()\n"
        f"finally:\n    print('HEAVY', [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "HEAVY []\n")
    listed = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == COMMANDS
    told = "Exit codes: 0 healed or done, 1 not healed, 2 bad input, 3 invalid measurement, 130 interrupted."
    assert told in " ".join(done.stdout.split())


@pytest.mark.parametrize("words", leaves(cli), ids=" ".join)
def test_each_commands_help_has_an_example_of_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    examples = result.output.partition("Example")[2]
    assert f"harness {' '.join(words)}" in examples


def test_help_of_record_names_those_whom_it_is_for() -> None:
    help_text = CliRunner().invoke(cli, ["run", "--help"]).output
    told = " ".join(help_text.partition("--record")[2].partition("--replay")[0].split())
    assert told.endswith("of the fixers gemini, gemini-tools and openai. [default: record]")


def test_the_short_descriptions_say_what_the_commands_say() -> None:
    runner = CliRunner()
    for line in runner.invoke(cli, ["--help"]).output.partition("Commands:")[2].splitlines():
        if line.strip():
            name, _, words = line.strip().partition(" ")
            assert words.strip().split()[0] in runner.invoke(cli, [name, "--help"]).output


# --- exit codes ---


def test_validate_ends_with_0_where_all_is_right_and_with_2_where_not(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text(GOOD.read_text().replace("  title:", "  titel:"))
    good = harness("validate", str(GOOD), folder=ROOT)
    assert (good.returncode, good.stdout, good.stderr) == (0, "1 of 1 scenarios are valid\n", "")
    both = harness("validate", str(GOOD), str(bad), folder=ROOT)
    assert (both.returncode, both.stdout) == (2, "1 of 2 scenarios are valid\n")
    line = 1 + bad.read_text().splitlines().index("  titel: A blocking query drains the connection pool")
    assert f"error: {bad}:{line}: metadata.titel: unknown key\n  did you mean title?" in both.stderr
    assert "Traceback" not in both.stderr


def test_validate_without_names_takes_the_folder_scenarios(tmp_path: Path) -> None:
    none = harness("validate", folder=tmp_path)
    assert none.returncode == 2 and "no scenario in scenarios/" in none.stderr and "name one" in none.stderr
    every = harness("validate", folder=ROOT)
    count = len(list((ROOT / "scenarios").glob("*.yml")))
    assert (every.returncode, every.stdout) == (0, f"{count} of {count} scenarios are valid\n"), every.stderr


def test_a_scenario_that_is_not_there_costs_nothing_but_a_line(tmp_path: Path) -> None:
    done = harness("run", "nosuch.yml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nosuch.yml: no such file\n  harness list shows the scenarios that there are\n"
    assert not list(tmp_path.iterdir()), "nothing was made"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fixer", "gemni"], "no fixer 'gemni'"),
        (["--fixer", "nowhere.mod:Fixer"], "the fixer 'nowhere.mod:Fixer' cannot be had"),
        (["--retriever", "vector"], "no retriever 'vector'"),
        (["--replay", "."], "no recorded exchange in "),
        (["--replay", ".", "--fixer", "gemini"], "no recorded exchange in "),
        (["--replay", ".", "--fixer", "lambda"], "the fixer 'lambda' cannot be replayed"),
    ],
)
def test_an_option_that_cannot_be_met_costs_nothing_but_a_line(tmp_path: Path, words: list[str], told: str) -> None:
    done = harness("run", str(GOOD), *words, "--results", str(tmp_path / "results"), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}") and len(done.stderr.splitlines()) == 2
    assert not list(tmp_path.iterdir())


def test_words_that_the_command_line_does_not_know_are_told(tmp_path: Path) -> None:
    for words, told in ((["runn"], "No such command 'runn'"), (["run"], "Missing argument"), (["run", "-x"], "-x")):
        done = harness(*words, folder=tmp_path)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


# --- what they print ---


def test_the_schema_is_the_one_that_the_scenarios_name() -> None:
    result = CliRunner().invoke(cli, ["validate", "--schema"])
    schema = json.loads(result.output)
    assert schema == json.loads((ROOT / "scenarios" / "schema.json").read_text()), "run: make schema"
    assert {"metadata", "load", "slos", "method"} <= schema["properties"].keys()


def test_list_shows_scenarios_also_wrong_ones_fixers_and_retrievers(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("metadata: 1\n")
    output = CliRunner().invoke(cli, ["list", str(tmp_path)]).output
    assert f"{tmp_path}/bad.yml is wrong: " in output
    output = CliRunner().invoke(cli, ["list", str(ROOT / "scenarios")]).output
    assert "database     A blocking query drains the connection pool\n" in output
    assert "playbook" in output and "lexical" in output and "cheat:" not in output


def test_list_tells_what_each_wrong_fix_does() -> None:
    output = CliRunner().invoke(cli, ["list", "--cheats", str(ROOT / "scenarios")]).output
    told = dict(re.findall(r"  cheat:(\S+)\n    (.+)", output))
    assert told["delete-route"].startswith("Takes the decorators") and told["stay_away"].startswith("What it does: rem")
    assert len(told) > len(CHEATS) and all(told.values())


def test_kb_search_gives_the_best_first() -> None:
    runner = CliRunner()
    lines = runner.invoke(
        cli, ["kb", "search", "statement", "timeout", "--kb", str(ROOT / "kb"), "--limit", "3"]
    ).output
    scores = [float(line.split()[0]) for line in lines.splitlines()]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    nothing = runner.invoke(cli, ["kb", "search", "zzzzqqq", "--kb", str(ROOT / "kb")])
    assert (nothing.exit_code, nothing.output) == (0, "nothing found\n")


def test_ui_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    done = harness("ui", "--results", str(tmp_path), folder=tmp_path)
    assert done.returncode == 2 and "run one: harness run" in done.stderr
    assert not list(tmp_path.iterdir())


def test_doctor_tells_what_there_is() -> None:
    result = CliRunner().invoke(cli, ["doctor"], env={"DATABASE_URL": "postgresql://x", "GEMINI_API_KEY": "secret"})
    assert "secret" not in result.output and "postgresql://x" not in result.output
    assert "PostgreSQL         DATABASE_URL" in result.output and "default fixer      gemini" in result.output
    assert result.exit_code == (3 if "NO " in result.output else 0)
