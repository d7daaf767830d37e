"""Which rows of a proof speak of what is there now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.experiment.arms import Arm, arms, present
from harness.experiment.proof import Row
from harness.loading import LoadedScenario, load_scenario
from harness.model.verdict import Outcome
from harness.trial.judge import JUDGE

SCENARIO = Path(__file__).parents[2] / "scenarios" / "retry_storm.yml"


@pytest.fixture(scope="module")
def loaded() -> LoadedScenario:
    return load_scenario(SCENARIO)


@pytest.fixture(scope="module")
def tried(loaded: LoadedScenario) -> dict[str, Arm]:
    return {arm.name: arm for arm in arms(loaded)}


def live(loaded: LoadedScenario, arm: Arm) -> Row:
    return Row(
        scenario="retry_storm",
        scenario_hash=loaded.hash,
        control=False,
        judge=JUDGE,
        arm=arm.name,
        seed=1,
        how="live",
        outcome=Outcome.NOT_HEALED,
        rule="not-recovered",
        reason="",
        at="2026-11-07T12:00:00+00:00",
        patch=arm.patch,
    )


def test_each_arm_once_and_wrong_fixes_by_what_they_change(tried: dict[str, Arm]) -> None:
    assert [*tried][:2] == ["noop", "reference"] and len(tried) > 30
    ran = {arm.patch for arm in tried.values() if arm.patch and not arm.refusal}
    assert len(ran) == sum(bool(arm.patch) and not arm.refusal for arm in tried.values()) > 2, "no two are the same"
    refused = tried["cheat:delete-route"].refusal
    assert refused and (refused.how, refused.rule) == ("refused", "review.removed-route")


def test_a_row_of_another_scenario_judge_or_patch_does_not_count(loaded: LoadedScenario, tried: dict[str, Arm]) -> None:
    row = live(loaded, tried["cheat:stay_away"])
    others = [replace(row, scenario_hash="9f"), replace(row, judge="0"), replace(row, patch=""), replace(row, arm="x")]
    assert present(loaded, tried.values(), [row, *others]) == [row]


def test_a_refusal_counts_only_for_what_is_refused_by_the_same_rule_now(
    loaded: LoadedScenario, tried: dict[str, Arm]
) -> None:
    refused = tried["cheat:delete-route"].refusal
    assert refused
    unread = replace(live(loaded, tried["cheat:stay_away"]), how="refused")
    by_another = replace(refused, rule="review.sleep")
    assert present(loaded, tried.values(), [refused, unread, by_another]) == [refused]
