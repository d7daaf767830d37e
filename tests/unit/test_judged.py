"""The judged queries: what is wrong in their files is named, how they are made of journals, and the set that ships."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.queries import CHARS, FORMS, LINES, chosen, queries_of, write
from harness.errors import InputError
from harness.fixing.scripted import ScriptedFixer
from harness.retrieval.corpus import load_corpus
from harness.retrieval.judged import Judged, answers_of, load_judged, splits_of
from harness.sinks.journal import EVENTS, Journal
from tests.world import WEAK, Simulation, fix

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "kb" / "evaluation"
KNOWN = {document.id for document in load_corpus(ROOT / "kb")}
SCENARIOS = sorted(file.stem for file in (ROOT / "scenarios").glob("*.yml"))
MACHINE = re.compile(r"(?<![\w.])/(?:tmp|home|root|usr|opt|var|work|srv)/|site-packages/.*site-packages/|:\d{5}\b/")
Damage = Callable[[dict[str, Any]], object]


def judgments() -> dict[str, Any]:
    answer = {"grade": 3, "why": "the same"}
    return {
        "slow_words": {"split": "dev", "cause": "no limit", "documents": {"d-1": answer}},
        "other": {
            "split": "test",
            "cause": "another",
            "documents": {"d-2": answer, "d-1": {"grade": 1, "why": "near"}},
        },
    }


def written(folder: Path, damage: Damage = dict) -> Path:
    """A sound set of two queries, then damaged."""
    queries = [
        {"id": "q001", "split": "dev", "trial": "t001", "form": "whole", "symptoms": "slow"},
        {"id": "q002", "split": "test", "trial": "t002", "form": "logs", "logs": ["one"]},
    ]
    files: dict[str, Any] = {
        "judgments": judgments(),
        "origins": {"t001": "slow_words", "t002": "other"},
        "queries": queries,
    }
    damage(files)
    (folder / "judgments.yml").write_text(yaml.safe_dump(files["judgments"]))
    (folder / "origins.json").write_text(json.dumps(files["origins"]))
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in files["queries"]))
    return folder


def test_what_is_sound_is_loaded(tmp_path: Path) -> None:
    first, second = load_judged(written(tmp_path), {"d-1", "d-2"})
    assert (first.source.group, first.grades) == ("slow_words", {"d-1": 3})
    assert second.grades == {"d-2": 3, "d-1": 1}
    assert (first.query.incident.id, first.query.incident.symptoms) == ("q001", "slow")
    assert answers_of(tmp_path, "other") == ("d-2",)
    assert splits_of(tmp_path) == {"slow_words": "dev", "other": "test"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: f["queries"][1].update(id="q001"), r"queries\.jsonl:2: q001: is there twice"),
        (lambda f: f["queries"][1].update(id="7"), r"queries\.jsonl:2: id:"),
        (lambda f: f["queries"][0].update(answer="d-1"), r"queries\.jsonl:1: answer:"),
        (lambda f: f["queries"][1].update(split="dev"), r"queries\.jsonl:2: q002: split dev, but all .* are test"),
        (
            lambda f: f["queries"][0].update(trial="t009"),
            r"queries\.jsonl:1: q001: its trial t009 has no judged origin",
        ),
        (lambda f: f["origins"].update(t002="unknown"), r"queries\.jsonl:2: q002: its trial t002 has no judged origin"),
        (lambda f: f.update(origins=["t001"]), r"origins\.json: "),
        (lambda f: f["judgments"]["other"].update(split="both"), r"judgments\.yml: other\.split:"),
        (
            lambda f: f["judgments"]["other"]["documents"]["d-2"].update(grade=4),
            r"judgments\.yml: other\.documents\.d-2\.grade",
        ),
        (
            lambda f: f["judgments"]["other"]["documents"]["d-2"].update(why=""),
            r"judgments\.yml: other\.documents\.d-2\.why",
        ),
        (
            lambda f: f["judgments"]["other"]["documents"]["d-2"].update(grade=1),
            r"judgments\.yml: other: nothing answers it",
        ),
        (
            lambda f: f["judgments"]["other"]["documents"].update(d_3={"grade": 1, "why": "w"}),
            r"other: no document 'd_3'",
        ),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, damage: Damage, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_judged(written(tmp_path, damage), {"d-1", "d-2"})


@pytest.mark.parametrize("name", ["queries.jsonl", "origins.json", "judgments.yml"])
def test_what_is_missing_or_no_text_of_its_kind_is_named(tmp_path: Path, name: str) -> None:
    file = written(tmp_path) / name
    file.write_text("{")
    with pytest.raises(InputError, match=name):
        load_judged(tmp_path, {"d-1", "d-2"})
    file.unlink()
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        load_judged(tmp_path, {"d-1", "d-2"})


def trial(folder: Path, *logs: str) -> Path:
    """A journal as a trial of slow_words writes it, whose incident has these log lines."""
    simulation = Simulation(ScriptedFixer([fix(WEAK + "# no\n"), fix()]))
    with Journal(folder) as journal:
        simulation.emit = journal
        simulation.run()
    lines = (folder / EVENTS).read_text().splitlines(keepends=True)
    symptoms = "the app logs FAULT_DB_TIMEOUT; 3 of 4 requests were bad"
    crumbs = ("release 1 is running", "signal: marker: FAULT_DB_TIMEOUT", "route browse: 4 arrivals")
    for number, line in enumerate(lines):
        record = json.loads(line)
        if record["type"] == "IncidentCreated":
            record["incident"] |= {"logs": logs, "symptoms": "the app logs FAULT_DB_TIMEOUT", "breadcrumbs": crumbs[:2]}
        if record["type"] == "IncidentAnalyzed":
            record["query"] = "\n".join(("FAULT_DB_TIMEOUT", symptoms, *crumbs, *logs))
        lines[number] = json.dumps(record) + "\n"
    (folder / EVENTS).write_text("".join(lines))
    return folder


def log_line(message: str, **more: object) -> str:
    return json.dumps({"ts": "2026-11-28T16:00:00.000+00:00", "level": "ERROR", "message": message, **more})


def told(folder: Path) -> dict[str, Any]:
    queries, _ = queries_of(chosen([folder], {"slow_words": "dev"}, trials=4, least=1), {"slow_words": "dev"})
    return {query.form: query for query in queries}


def test_each_form_tells_its_part(tmp_path: Path) -> None:
    trial(tmp_path / "a", log_line("FAULT_DB_TIMEOUT held for 6 s", marker="FAULT_DB_TIMEOUT"))
    forms = told(tmp_path)
    assert list(forms) == list(FORMS[:-1]), "no INFO lines, no noise"
    assert forms["whole"].error_code == "FAULT_DB_TIMEOUT" and forms["whole"].breadcrumbs
    assert (forms["logs"].error_code, forms["logs"].symptoms, forms["logs"].breadcrumbs) == ("", "", ())
    assert forms["symptoms"].logs == () and forms["symptoms"].symptoms == forms["whole"].symptoms
    assert forms["whole"].breadcrumbs[-1] == "route browse: 4 arrivals" and len(forms["whole"].logs) == 1
    assert forms["first_signal"].symptoms == "the app logs FAULT_DB_TIMEOUT"
    assert len(forms["first_signal"].breadcrumbs) == 2
    assert forms["unmarked"].symptoms == "3 of 4 requests were bad"
    assert "FAULT_" not in forms["unmarked"].model_dump_json() and "held for 6 s" in forms["unmarked"].logs[0]


def test_a_form_that_would_tell_nothing_is_left_out(tmp_path: Path) -> None:
    trial(tmp_path / "a")
    assert list(told(tmp_path)) == ["whole", "first_signal", "symptoms", "unmarked"]


def test_machine_and_secrets_are_taken_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    trace = 'Traceback:\n  File "/tmp/app-x1/workspace/shop/db.py", line 3\n' + "  middle\n" * 90 + "KeyError: 'sku'"
    trial(
        tmp_path / "a",
        log_line("GET http://127.0.0.1:41733/pay of /srv/host/run.log by mary@shop.example", exception=trace),
        log_line(
            'File "/tmp/p/.venv/lib/python3.11/site-packages/flask/app.py" and "/tmp/app-x1/workspace/shop/db.py"'
        ),
    )
    first, second = told(tmp_path)["logs"].logs
    assert "http://127.0.0.1/pay of run.log by [redacted" in first and "KeyError: 'sku'" in first and len(first) < 800
    assert '"flask/app.py\\" and \\"shop/db.py\\"' in second.replace('\\"flask', '"flask')


def test_a_long_log_is_cut_to_its_newest_lines(tmp_path: Path) -> None:
    trial(tmp_path / "a", *(log_line(f"line {number}") for number in range(40)))
    logs = told(tmp_path)["whole"].logs
    assert len(logs) == LINES and "line 39" in logs[-1]
    trial(tmp_path / "b", *(log_line(f"line {number} " + "word " * 200) for number in range(40)))
    logs = told(tmp_path / "b")["whole"].logs
    assert sum(map(len, logs)) <= CHARS and "line 39" in logs[-1]


def test_noise_stands_before_the_incident(tmp_path: Path) -> None:
    folder = trial(tmp_path / "a", log_line("it broke"))
    lines = (folder / EVENTS).read_text().splitlines()
    at = next(json.loads(line) for line in lines if "IncidentCreated" in line)["incident"]["detected_at"]
    info = [json.dumps({"ts": at, "level": "INFO", "message": f"request {number}"}) for number in range(30)]
    (folder / "logs").mkdir()
    (folder / "logs" / "web.log").write_text("\n".join(info))
    logs = told(tmp_path)["noise"].logs
    assert len(logs) == 13 and "request 0" in logs[0] and "it broke" in logs[-1]


def test_the_same_trials_make_the_same_files_and_no_more_than_asked(tmp_path: Path) -> None:
    for name in "abc":
        trial(tmp_path / "r" / name, log_line("it broke"))
        events = tmp_path / "r" / name / EVENTS
        ended = json.loads(events.read_text().splitlines()[-1])["verdict"]["trial"]["id"]
        events.write_text(events.read_text().replace(ended, f"trial-{name}"))
    splits: Any = {"slow_words": "dev"}
    made = []
    for folders in ([tmp_path / "r"], [tmp_path / "r" / name for name in "cba"]):
        queries, origins = queries_of(chosen(folders, splits, trials=2, least=2), splits)
        written(tmp_path)
        write(tmp_path, queries, origins)
        made.append((tmp_path / "queries.jsonl").read_bytes())
        assert origins == {"t001": "slow_words", "t002": "slow_words"}
    assert made[0] == made[1]
    assert len(load_judged(tmp_path, {"d-1", "d-2"})) == 2 * (len(FORMS) - 1)


def test_too_few_trials_or_a_query_that_names_its_answer_are_errors(tmp_path: Path) -> None:
    trial(tmp_path / "a", log_line("it broke in slow-words"))
    with pytest.raises(InputError, match=r"slow_words \(1\)"):
        chosen([tmp_path], {"slow_words": "dev"}, trials=4, least=2)
    with pytest.raises(InputError, match="names its answer, slow_words"):
        told(tmp_path)


def test_what_has_not_ended_or_noticed_nothing_or_asked_nothing_is_left_out(tmp_path: Path) -> None:
    for without in ("TrialEnded", "IncidentCreated", "IncidentAnalyzed"):
        events = trial(tmp_path / without, log_line("it broke")) / EVENTS
        lines = [json.loads(line) for line in events.read_text().splitlines()]
        events.write_text("".join(json.dumps(line) + "\n" for line in lines if line["type"] != without))
    assert chosen([tmp_path], {"slow_words": "dev"}, trials=4, least=0) == []


def test_every_scenario_is_judged_and_the_first_four_are_dev() -> None:
    splits = splits_of(SHIPPED)
    assert sorted(splits) == SCENARIOS
    assert [name for name in SCENARIOS if splits[name] == "dev"] == SCENARIOS[:4]
    for name, origin in yaml.safe_load((SHIPPED / "judgments.yml").read_text()).items():
        assert set(origin["documents"]) <= KNOWN, name
        assert answers_of(SHIPPED, name)


@pytest.fixture
def shipped() -> tuple[Judged, ...]:
    return load_judged(SHIPPED, KNOWN)


def test_the_shipped_set_is_large_enough_and_whole(shipped: tuple[Judged, ...]) -> None:
    assert len(shipped) >= 120
    assert {each.source.group for each in shipped} == set(SCENARIOS)
    groups = {split: {each.source.group for each in shipped if each.query.split == split} for split in ("dev", "test")}
    assert len(groups["dev"]) == 4 and len(groups["test"]) == 6
    counts = [sum(each.source.group == name for each in shipped) for name in SCENARIOS]
    assert max(counts) <= 1.5 * min(counts)
    assert (SHIPPED / "queries.jsonl").stat().st_size < 800_000


def test_no_shipped_query_names_answer_machine_or_marker(shipped: tuple[Judged, ...]) -> None:
    for each in shipped:
        text = each.query.model_dump_json()
        assert not [name for name in SCENARIOS if name in text or name.replace("_", "-") in text], each.query.id
        assert not MACHINE.search(text), each.query.id
        assert len(each.query.logs) <= LINES
        if each.query.form == "unmarked":
            assert "FAULT_" not in text and not each.query.error_code, each.query.id
