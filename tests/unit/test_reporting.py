"""What is shown of trials: pictures that tell their numbers, tables, and pages that carry nobody's markup."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from harness.errors import InputError
from harness.experiment.manifest import begun
from harness.experiment.nights import watched
from harness.experiment.results import TrialRow, append
from harness.experiment.sides import Side, Uncounted
from harness.model.event import Event
from harness.model.experiment import Arm, Experiment
from harness.model.fix import Attempt
from harness.model.verdict import Outcome
from harness.reporting import arms, drawing, learning, recall, recovery, timeline, trend, trusted, versus
from harness.reporting import trial as trials_
from harness.reporting.chapters import NOTEBOOKS, Outline, outline
from harness.reporting.exhibit import Diff, Exhibit, Picture, Table, Words, together
from harness.reporting.notebooks import Shown
from harness.reporting.page import page
from harness.sinks.journal import Journal
from tests import events as sample
from tests.e2e import tiny
from tests.rows import half, healed, never, row, trials

FIXTURE = Path(__file__).parents[1] / "fixtures" / "journal-2"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe \x1b[2J & \"'"


def two() -> Side:
    first, second = trials("good", healed), trials("poor", half)
    return Side(name="results/sweep", arms={**second.arms, **first.arms})


def drawn(picture: Picture) -> tuple[Xml.Element, Xml.Element]:
    """Both SVGs, which are well-formed and hold no script and no address."""
    found = []
    for svg in (picture.wide, picture.narrow):
        assert b"<script" not in svg
        assert not re.findall(rb"(?:href|src)=\"(?!#)", svg)
        found.append(Xml.fromstring(svg))
    return found[0], found[1]


def html(exhibit: Exhibit) -> str:
    return exhibit._repr_html_()


# --- exhibits


@pytest.mark.parametrize(
    "exhibit",
    [
        Picture(title=HOSTILE, alt=HOSTILE, wide=b"<svg/>", narrow=b"<svg/>", note=HOSTILE),
        Table(title=HOSTILE, head=(HOSTILE, "b"), rows=[(HOSTILE, HOSTILE)], note=HOSTILE),
        Words(text=HOSTILE, tone="warning"),
        Diff(title=HOSTILE, text=f"+{HOSTILE}\n-{HOSTILE}\n{HOSTILE}"),
        together([Words(text=HOSTILE)]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_comes_from_outside_is_text(exhibit: Exhibit) -> None:
    told = html(exhibit)
    assert "&lt;script&gt;" in told
    for wrong in ("<script", "<img src=x", "\u202e", "\x1b"):
        assert wrong not in told
    closed = re.sub(r"(<(?:img|source)[^>]*)>", r"\1/>", told)  # HTML does not close these
    Xml.fromstring(f"<body>{closed}</body>")


def test_a_page_forbids_what_is_not_in_it() -> None:
    chapter = [
        Shown(kind="markdown", text=f"# {HOSTILE}\n\n## Inner\n\n{HOSTILE}"),
        Shown(kind="html", text="<p>it</p>"),
    ]
    told = page(Outline(title=HOSTILE, chapters=(), left_out=(HOSTILE,)), [chapter, chapter], HOSTILE)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in told
    assert "<script" not in told
    assert not re.findall(r'(?:src|href)="(?!#|data:)', told)
    assert re.findall(r"<h(\d)>", told)[:3] == ["1", "2", "3"], "the page has the first heading"
    assert told.count('<a href="#part-') == 2


# --- the palette


def seen(colour: str, matrix: list[list[float]]) -> np.ndarray:
    """CIELAB of a colour as somebody sees it, by a matrix on linear RGB."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    ("eyes", "matrix"),
    [  # G. Machado, M. Oliveira, L. Fernandes, IEEE TVCG 15, 2009, severity 1.0
        ("all three cones", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("no red", [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
        (
            "no green",
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        ),
        (
            "no blue",
            [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        ),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_colours_that_decide_are_told_apart_by_all_eyes(eyes: str, matrix: list[list[float]]) -> None:
    for group in ((drawing.BLUE, drawing.YELLOW, drawing.RED), (drawing.BLUE, drawing.RED, drawing.FAINT)):
        labs = [seen(colour, matrix) for colour in group]
        apart = [np.linalg.norm(a - b) for number, a in enumerate(labs) for b in labs[:number]]
        assert min(apart) > 20, f"{eyes}: {group}"  # CIE76; 2.3 is just noticeable


def test_looks_tell_arms_apart_without_colour() -> None:
    told = list(drawing.looks([f"arm-{number}" for number in range(14)]).values())
    assert len({(look.colour, look.mark, look.line) for look in told}) == 14
    assert len({(look.mark, look.line) for look in told[:7]}) == 7


# --- one trial


def test_a_trial_is_told_from_its_journal(tmp_path: Path) -> None:
    told = trials_.story(FIXTURE)
    picture = timeline.timeline(told)
    drawn(picture)
    assert f"{sum(window.arrivals for window in told.windows)} arrivals" in picture.alt
    assert next(name for name, _ in told.moments) == "fault"
    assert str(told.verdict.outcome) in html(trials_.summary(told))
    assert len(trials_.checks(told).rows) == len(told.verdict.checks)
    assert len(trials_.attempts(told).rows) == len(told.verdict.attempts)
    deployed = [each for each in told.verdict.attempts if each.deployment and each.deployment.diff]
    assert html(trials_.diffs(told)).count('<pre class="diff"') == len(deployed) > 0


def test_checks_that_failed_come_first() -> None:
    told = trials_.story(FIXTURE)
    failed = replace(told.verdict.checks[-1], name="the-last", passed=False)
    verdict = replace(told.verdict, checks=(*told.verdict.checks[:-1], failed))
    assert trials_.checks(replace(told, verdict=verdict)).rows[0][:2] == ("FAILED", "the-last")


@pytest.mark.parametrize("story", [sample.healed, sample.not_healed, sample.invalid], ids=lambda each: each.__name__)
def test_trials_of_every_end_can_be_told(story: Callable[[], list[Event]], tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for event in story():
            journal(event)
    told = trials_.story(tmp_path)
    drawn(timeline.timeline(told))
    for exhibit in (trials_.summary, trials_.attempts, trials_.passages, trials_.diffs, trials_.checks):
        assert html(exhibit(told))


def test_a_trial_that_goes_on_is_no_story(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal(sample.healed()[0])
    with pytest.raises(InputError, match="has not ended"):
        trials_.story(tmp_path)


def test_an_attempt_without_a_fix_is_told() -> None:
    told = trials_.story(FIXTURE)
    attempt = Attempt(number=1, outcome="failed", reason="no answer within 30 s", rule="proposal")
    table = trials_.attempts(replace(told, verdict=replace(told.verdict, attempts=(attempt,))))
    assert table.rows == [
        ("1", "failed", "proposal", "none stated", "nothing usable was proposed", "no answer within 30 s")
    ]


# --- sweeps


def test_each_arm_has_its_rate_and_what_repeats_are_worth() -> None:
    told = {line[0]: line for line in arms.overview(two()).rows}
    assert told["good@lexical"][1].startswith("40 of 40")
    assert told["poor@lexical"][1].startswith("20 of 40")
    assert told["good@lexical"][3] == "100%, 100%"
    assert told["poor@lexical"][3] == "100%, 0%", "of all twenty tries one heals, and not all"
    assert "good@lexical: 40 of 40" in arms.rates(two()).alt


def test_invalid_trials_count_for_nobody_and_are_listed() -> None:
    def busy(_scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if seed == 3 else Outcome.HEALED

    given = trials("a", busy)
    assert arms.overview(given).rows[0][1:3] == ("38 of 38 (90.8-100.0 %)", "2")
    assert str(arms.right_of(given.arms["a@lexical"])).startswith("38 of 38")
    assert [line[0] for line in arms.invalid(given).rows] == ["pool-a-3", "sql-a-3"]


def test_what_was_invalid_and_run_again_is_told_and_listed(tmp_path: Path) -> None:
    for number, outcome in enumerate([Outcome.INVALID, Outcome.INVALID, Outcome.HEALED]):
        one = replace(row("pool", "a", 1, outcome), trial=f"try-{number}", started_at=f"2026-11-29T00:0{number}:00")
        append(tmp_path, one)
    append(tmp_path, row("sql", "a", 1, Outcome.INVALID))
    given = arms.trials(tmp_path)
    assert arms.overview(given).rows[0][2] == "1, and 2 run again"
    assert [(line[0], line[3]) for line in arms.invalid(given).rows] == [
        ("sql-a-1", ""),
        ("try-0", "run again"),
        ("try-1", "run again"),
    ]


def test_what_trials_cost_that_could_not_be_measured_is_in_no_mean() -> None:
    rows = {("pool", seed): replace(row("pool", "a", seed), fixer_s=2.0, usd=0.5) for seed in range(4)}
    lost = replace(row("pool", "a", 9, Outcome.INVALID), fixer_s=300.0, usd=80.0)
    given = Side(name="s", arms={"a@lexical": {**rows, ("pool", 9): lost}})
    assert arms.overview(given).rows[0][5:] == ("2.0 s", "$0.5000")


def test_several_tries_are_of_the_scenarios_that_were_measured_of_every_arm() -> None:
    def lost(scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "sql" else half(scenario, seed)

    def hard(scenario: str, seed: int) -> Outcome:
        return never(scenario, seed) if scenario == "sql" else half(scenario, seed)

    pair = {**trials("a", lost).arms, **trials("b", hard).arms}
    table = arms.overview(Side(name="s", arms={**pair, **trials("c", lambda *_: Outcome.INVALID).arms}))
    assert table.head[3] == "pass@20, pass^20"
    assert [line[3] for line in table.rows] == ["100%, 0%", "100%, 0%", "-, -"], "of pool alone"
    assert "leave out sql: not measured of every arm" in table.note


def test_repeats_that_are_left_out_are_told_arm_by_arm(tmp_path: Path) -> None:
    for number in range(3):
        append(tmp_path, replace(row("pool", "a", 1), trial=f"try-{number}", cell=f"{number}"))
    assert "Left out, as repeats of measured trials: 2 of a@lexical." in arms.overview(arms.trials(tmp_path)).note
    assert "Left out" not in arms.overview(two()).note


def test_the_heat_map_tells_each_cell() -> None:
    picture = arms.heat_map(two())
    drawn(picture)
    assert "poor@lexical: pool 10 of 20, sql 10 of 20" in picture.alt
    assert "good@lexical: release 40 of 40" in arms.heat_map(two(), by="fault_class").alt


def test_a_heat_map_has_room_for_what_was_not_measured() -> None:
    given = Side(name="s", arms={**trials("a", healed, ["pool"]).arms, **trials("b", healed, ["sql"]).arms})
    assert "a@lexical: pool 20 of 20, sql 0 of 0" in arms.heat_map(given).alt


def test_curves_tell_who_recovered_and_leave_out_who_had_no_outage() -> None:
    calm = trials("calm", healed, ["quiet"])
    picture = recovery.curves(Side(name="s", arms={**two().arms, **calm.arms}))
    drawn(picture)
    assert "good@lexical: 40 of 40 recovered, half of them by 11 s" in picture.alt
    assert "poor@lexical: 20 of 40 recovered" in picture.alt
    assert "calm" not in picture.alt


def test_what_decided_and_what_is_chance() -> None:
    assert ("not-recovered", "20", "-") in [tuple(line) for line in arms.what_decided(two()).rows]
    noise = {line[0]: line for line in arms.noise(two()).rows}
    assert noise["good@lexical"][1:] == ("0 points", "20", "2")
    assert float(noise["poor@lexical"][1].split()[0]) > 10


# --- comparisons


def test_arms_are_held_against_one_of_them() -> None:
    (told,) = versus.against(two(), "poor@lexical")
    assert told.name == "good@lexical against poor@lexical"
    assert told.right.decision == "better"
    picture = versus.forest([told])
    assert isinstance(picture, Picture)
    drawn(picture)
    assert picture.title == "Did right, against poor@lexical"
    assert picture.alt.startswith("good@lexical: +50 points (")
    assert "better, n = 40" in picture.alt
    assert "pool: +50 points" in html(versus.by_scenarios([told]))
    assert "good@lexical against poor@lexical: better, +50 points" in html(versus.findings([told]))


def test_what_does_not_count_is_told_wherever_arms_meet() -> None:
    voids = {"good@lexical": Uncounted(again=(row("pool", "good", 1, Outcome.INVALID),) * 3)}
    given = replace(two(), uncounted=voids)
    (told,) = versus.against(given, "poor@lexical")
    assert told.invalid_again == (3, 0)
    assert "INVALID and run again: 3 of the first, 0 of the second" in html(versus.findings([told]))
    side_by_side = versus.both(replace(given, name="r/tonight"), replace(two(), name="r/before"))
    assert [line[2] for line in arms.overview(side_by_side).rows] == ["0", "0, and 3 run again", "0", "0"]


def test_the_first_arm_is_the_base_unless_another_is_named() -> None:
    assert [each.name for each in versus.against(two())] == ["good@lexical against poor@lexical"]
    with pytest.raises(InputError, match="no arm nobody"):
        versus.against(two(), "nobody")


def test_arms_that_met_nothing_in_common_are_not_compared() -> None:
    given = Side(name="s", arms={**trials("a", healed, ["pool"]).arms, **trials("b", healed, ["sql"]).arms})
    assert versus.against(given) == []
    assert "no two trials can be compared" in html(versus.forest([]))


def test_two_sweeps_are_compared_arm_by_arm() -> None:
    tonight, before = trials("a", half), trials("a", healed)
    (told,) = versus.of_two(tonight, before)
    assert told.right.decision == "worse"
    assert [*versus.both(replace(tonight, name="r/tonight"), replace(before, name="r/before")).arms] == [
        "tonight: a@lexical",
        "before: a@lexical",
    ]


def test_many_comparisons_get_a_table_by_scenario() -> None:
    given = Side(
        name="s",
        arms={name: each for arm in "abcd" for name, each in trials(arm, half if arm == "a" else healed).arms.items()},
    )
    told = html(versus.by_scenarios(versus.against(given)))
    assert told.count('<th scope="row">') == 2
    assert told.count("better: +50 points") == 6


# --- confidence


def sure(arm: str, confidence: float) -> Side:
    found = trials(arm, half).arms[f"{arm}@lexical"]
    rows = {key: replace(each, live=True, confidence=confidence) for key, each in found.items()}
    return Side(name=arm, arms={f"{arm}@lexical": rows})


def test_confidence_is_held_against_what_came() -> None:
    found = trusted.trusted(sure("a", 0.9), benefit=1, cost=5)
    said, risk = trusted.reliability(found), trusted.risk(found)
    drawn(said)
    drawn(risk)
    assert "a@lexical: said 0.90, healed 20 of 40" in said.alt
    assert "at 100% deployed 50% bad" in risk.alt
    assert trusted.scores(found).rows[0][:2] == ("a@lexical", "40")
    assert "deploy none by itself" in html(trusted.may_deploy(found))


# --- retrieval, learning, nights


def test_only_fixers_with_several_retrievers_have_something_to_tell() -> None:
    arms_ = {f"playbook@{name}": _looked_up(name) for name in ("lexical", "none")}
    voids = {"playbook@none": Uncounted(again=(row("pool", "playbook", 1, Outcome.INVALID),))}
    given = Side(name="s", arms={**arms_, **trials("noop", never).arms}, uncounted=voids)
    assert recall.fixers(given) == ["playbook"]
    chosen = recall.only(given, "playbook")
    assert chosen.beside("playbook@none") == voids["playbook@none"]
    assert [*chosen.arms] == ["playbook@none", "playbook@lexical"], (
        "without retrieval first: the others are held against it"
    )
    assert recall.closeness(chosen).rows[1] == ("playbook@lexical", "0.80", "20", "-", "0")
    with pytest.raises(InputError, match="one retriever alone"):
        recall.only(given, "noop")


def _looked_up(retriever: str) -> dict[tuple[str, int], TrialRow]:
    sure_ = 0.8 if retriever == "lexical" else None
    return {
        ("pool", seed): replace(row("pool", "playbook", seed), retriever=retriever, retriever_confidence=sure_)
        for seed in range(20)
    }


def test_a_knowledge_base_that_grows_is_told_from_a_frozen_one(tmp_path: Path) -> None:
    for number in range(6):
        one = row("pool", "a", number, Outcome.HEALED if number > 1 else Outcome.NOT_HEALED)
        append(tmp_path, replace(one, kb=f"team {number // 2}", started_at=f"2026-11-29T00:0{number}:00+00:00"))
    (found,) = learning.courses(tmp_path)
    assert found.snapshots == 3
    assert "met 3 states" in html(learning.memory([found]))
    picture = learning.curve([found])
    drawn(picture)
    assert picture.alt == "a@lexical: right in 1 of 3 of the first half, in 3 of 3 of the second"
    frozen = replace(found, rows=found.rows[:2])
    assert "was frozen" in html(learning.memory([frozen]))
    assert [line[1] for line in learning.halves([found]).rows] == ["first half", "second half"]


def test_nights_are_told_with_their_alarm() -> None:
    nights = [
        Side(name=f"11-0{n}", arms=trials("a", each).arms) for n, each in enumerate([healed, half, half], start=1)
    ]
    (found,) = watched(trials("a", healed), nights)
    picture = trend.trend(found)
    drawn(picture)
    assert "Baseline 40 of 40" in picture.alt
    assert "11-02: 20 of 40" in picture.alt
    assert [line[-1] for line in trend.table([found]).rows] == ["", "worse", "worse"]
    assert 'class="warning"' in html(trend.findings([found]))


def test_the_line_of_the_alarm_is_that_of_the_arm_and_no_night_is_no_error() -> None:
    arms = {name: rows for arm in "ab" for name, rows in trials(arm, healed).arms.items()}
    night = Side(name="11-01", arms=trials("a", half).arms)
    first, second = watched(Side(name="all", arms=arms), [night])
    picture = trend.trend(first)
    drawn(picture)
    assert "over all arms together" in html(picture)
    drawn(trend.trend(second))
    assert "Left out: 11-01 (no measured trial)" in html(trend.findings([second]))


# --- which notebooks


def chapters(folders: list[Path]) -> list[str]:
    return [chapter.notebook.stem for chapter in outline(folders).chapters]


def test_a_report_has_the_chapters_that_the_folder_has_something_for(tmp_path: Path) -> None:
    plain, rich = tmp_path / "plain", tmp_path / "rich"
    for seed in range(3):
        append(plain, row("pool", "a", seed))
        for retriever in ("none", "lexical"):
            one = replace(
                row("pool", "a", seed), retriever=retriever, cell=f"{retriever}/{seed}", live=True, confidence=0.5
            )
            append(rich, replace(one, kb=f"kb {seed}"))
    assert chapters([plain]) == ["02_compare"]
    assert outline([plain]).left_out == (
        "03_calibration: no fix went live with a confidence",
        "04_retrieval: no fixer went with two retrievers",
        "05_learning_curve: the knowledge base was frozen",
    )
    assert chapters([rich]) == ["02_compare", "03_calibration", "04_retrieval", "05_learning_curve"]
    assert chapters([plain, rich]) == ["02_compare"]
    assert outline([plain, rich]).title == "plain against rich"
    assert chapters([FIXTURE, FIXTURE]) == ["01_trial", "01_trial"]
    tiny.make(tmp_path / "base")
    given = Experiment(name="night", scenarios=("slow_export.yml",), arms=(Arm(fixer="a"),))
    for number, expected in enumerate((["02_compare"], ["06_nightly_trend", "02_compare"]), start=1):
        with begun(given, tmp_path / "base", tmp_path / "nights" / f"2026-11-0{number}") as place:
            append(place.folder, row("pool", "a", 1))
        with begun(given, tmp_path / "base", tmp_path / "nights" / f"2026-11-0{number} without trials"):
            pass
        assert chapters([tmp_path / "nights"]) == expected
    last = outline([tmp_path / "nights"]).chapters[1].parameters["first"]
    assert last == str(tmp_path / "nights" / "2026-11-02"), "it is the last that has a trial"
    for folders, why in (([tmp_path / "none"], "there is no folder"), ([plain, rich, plain], "not all of trials")):
        with pytest.raises(InputError, match=why):
            outline(folders)


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_only_calls_and_shows(file: Path) -> None:
    told = json.loads(file.read_text())
    assert told["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in told["cells"] if cell["cell_type"] == "code"]
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code), "commit it without outputs"
    for cell in code:
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            assert not isinstance(
                node, ast.FunctionDef | ast.ClassDef | ast.While | ast.BinOp | ast.Compare | ast.Lambda
            )
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").startswith("harness.reporting")
            assert not isinstance(node, ast.Import)


def test_nan_is_no_share() -> None:
    empty = {("pool", 1): row("pool", "a", 1, Outcome.INVALID)}
    assert arms.overview(Side(name="s", arms={"a@lexical": empty})).rows[0][3] == "-, -"


def test_dollars_in_a_fixers_name_are_no_formula() -> None:
    name = r"./a $HOME \frac{ $X"
    given = Side(name="s", arms={name: trials("a", half).arms["a@lexical"], "b": trials("b", healed).arms["b@lexical"]})
    for picture in (arms.rates(given), arms.heat_map(given), recovery.curves(given)):
        drawn(picture)
