"""``harness compare``: is this better than that?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.experiment import compared
from harness.experiment.compare import WORTH, report
from harness.experiment.sides import side, versus

_FORMS = {"text": compared.text, "json": compared.as_json, "markdown": compared.markdown, "junit": compared.junit}


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option(
    "--format", "form", type=click.Choice([*_FORMS]), default="text", show_default=True, help="How it is told."
)
@click.option(
    "--worth",
    type=click.FloatRange(0, 1, min_open=True),
    default=WORTH,
    show_default=True,
    help="The least difference of shares that you would act on: how many more trials would show it?",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where MLflow's database lies, when MLFLOW_TRACKING_URI names none.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit code 1 where the first is worse.")
def command(first: str, second: str, form: str, worth: float, results: Path, fail_on_regression: bool) -> None:
    """Is FIRST better than SECOND? Each is a folder of a sweep, of trials or of one, or FOLDER:FIXER@RETRIEVER.

    From MLflow it is mlflow:NAME, of an experiment, a sweep or a trial, then :FIXER@RETRIEVER, then ?FILTER, as
    MLflow's page takes it; both may be left out.

    Better and worse are said where a 95 % interval leaves no doubt, else undecided. What cannot be compared is refused:
    trials by other judges, on other versions of a scenario, or of several models in one arm.

    \b
    Examples:
      harness compare results/sweep:playbook@lexical results/sweep:playbook@none
      harness compare results/tonight results/baseline --fail-on-regression --format markdown
      harness compare mlflow:memory:playbook@lexical mlflow:memory:playbook@none
      harness compare mlflow:creamandonion:openai@none "mlflow:creamandonion:playbook@none?tags.class = 'resource'"
    """
    reports = [report(each, worth) for each in versus(side(first, results), side(second, results))]
    click.echo(_FORMS[form](reports))
    worse = any(each.regressed for each in reports)
    click.get_current_context().exit(1 if fail_on_regression and worse else 0)
