"""``harness kb analyse``: what Backboard's assistant makes of a trial's incident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import InputError

# what is needed besides is imported in the functions, since Flask imports this module with each of its own commands
if TYPE_CHECKING:
    from harness.model.incident import Incident
    from harness.retrieval.backboard.analysis import Analysis


@click.command("analyse")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, *, as_json: bool) -> None:
    """Ask Backboard's assistant about the incident of the trial in FOLDER, as it was when it was noticed.

    Prints root cause, remediation and verification in the assistant's words, and the past incidents that it retrieved
    for them: of those that `harness kb seed` has uploaded. It is for people to read; no trial is changed by it. Needs
    BACKBOARD_API_KEY. What is sent is redacted first.

    \b
    Examples:
      harness kb analyse results/20261107-120000-pool_exhaustion-noop-7f3a
      harness kb analyse --json results/20261107-120000-pool_exhaustion-noop-7f3a
    """
    incident = _incident(folder)
    analysis = _analysed(incident)
    if as_json:
        click.echo(json.dumps({"incident": incident.id, **_told(analysis)}, indent=2))
    else:
        click.echo("\n".join(_lines(incident, analysis)))


def _incident(folder: Path) -> Incident:
    from harness.model.event import IncidentCreated  # noqa: PLC0415 see above
    from harness.sinks.journal import read_events  # noqa: PLC0415 see above

    found = next((event.incident for event in read_events(folder) if isinstance(event, IncidentCreated)), None)
    if found is None:
        raise InputError(f"{folder} holds no incident: none was noticed in that trial", cure="name another trial")
    return found


def _analysed(incident: Incident) -> Analysis:
    from harness.retrieval.backboard.calls import Refused  # noqa: PLC0415 see above
    from harness.retrieval.backboard.retriever import BackboardRetriever  # noqa: PLC0415 see above

    try:
        return BackboardRetriever((), learned=Path()).analyse(incident)
    except Refused as error:
        raise InputError(error.message, cure=error.cure) from None


def _told(analysis: Analysis) -> dict[str, object]:
    return {
        "root_cause": analysis.section("Root cause"),
        "remediation": analysis.section("Remediation"),
        "verification": analysis.section("Verification"),
        "documents": list(analysis.documents),
        "model": analysis.model,
        "text": analysis.text,
    }


def _lines(incident: Incident, analysis: Analysis) -> Iterator[str]:
    from harness.sinks.printable import one_line, printable  # noqa: PLC0415 see above

    yield f"{one_line(incident.id)}  {one_line(incident.error_code)}: {one_line(incident.symptoms)}"
    yield f"\n{printable(analysis.text).strip()}\n"
    yield f"retrieved: {', '.join(map(one_line, analysis.documents)) or 'nothing; harness kb seed uploads incidents'}"
    if analysis.model:
        yield f"answered by: {one_line(analysis.model)}"
