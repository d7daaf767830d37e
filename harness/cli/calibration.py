"""``harness calibration``: may it deploy by itself, and when?"""

from __future__ import annotations

import click

from harness.experiment import trust
from harness.experiment.sides import side


@click.command("calibration")
@click.argument("trials")
@click.option(
    "--confidence",
    "whose",
    type=click.Choice(["stated", "retrieval", "combined"]),
    default="stated",
    show_default=True,
    help="The fixer's own, the retriever's, or both together.",
)
@click.option(
    "--benefit", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Of a good fix."
)
@click.option("--cost", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Of a bad one.")
@click.option("--json", "as_json", is_flag=True, help="Print a list with one object for each arm.")
def command(trials: str, whose: trust.Whose, benefit: float, cost: float, as_json: bool) -> None:
    """Is a fixer as sure as it should be, and from which confidence on may its fixes go live by themselves?

    TRIALS is a folder of a sweep, or of trials, or FOLDER:FIXER@RETRIEVER, or from MLflow, as harness compare takes it.
    Each fix that went live counts, also those that failed before another healed. The threshold is chosen on one half of
    the scenarios and checked on the other, which needs two or more.

    \b
    Examples:
      harness calibration results/sweep:playbook@lexical
      harness calibration results/sweep --confidence combined --cost 20
    """
    found = trust.trust(side(trials), whose, benefit=benefit, cost=cost)
    click.echo(trust.as_json(found) if as_json else trust.text(found))
