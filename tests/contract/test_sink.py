"""What every sink promises, whatever it does with the events."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from harness.model.event import Event, IncidentCreated
from harness.ports import Sink
from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor
from harness.sinks.console import Console
from harness.sinks.fanout import FanOut
from harness.sinks.journal import Journal
from harness.sinks.memory import MemorySink
from harness.sinks.recorder import Recorder
from tests import events as sample

SINKS = ("memory", "journal", "fan-out", "plain console", "live console", "recorder")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with Supervisor() as supervisor, postgres_running(supervisor, data=folder / "data", log=folder / "log") as server:
        yield server


@contextmanager
def opened(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Sink]:
    match name:
        case "memory":
            yield MemorySink()
        case "journal":
            with Journal(folder) as journal:
                yield journal
        case "fan-out":
            kept = MemorySink()
            with FanOut([MemorySink()], [kept]) as fan_out:
                yield fan_out
            assert fan_out.warnings == []
        case "plain console":
            with Console(folder, stream=io.StringIO()) as console:
                yield console
        case "live console":
            with Console(folder, terminal=Terminal(file=io.StringIO(), force_terminal=True)) as console:
                yield console
        case "recorder":
            server: Postgres = request.getfixturevalue("postgres")
            with Recorder(server.url(server.home)) as recorder:
                yield recorder


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    with opened(request.param, tmp_path, request) as one:
        yield one


def test_takes_every_type_of_event(sink: Sink) -> None:
    for event in sample.every_type():
        assert sink(event) is None  # type: ignore[func-returns-value]  # this is what is tested


def test_leaves_the_events_as_they_are(sink: Sink) -> None:
    events = sample.every_type()
    before = copy.deepcopy(events)
    for event in events:
        sink(event)
    assert events == before


def test_takes_hostile_text(sink: Sink) -> None:
    for event in sample.healed(logs=(sample.HOSTILE, "\0", "x" * 1_000_000)):
        sink(hostile(event))


def test_takes_an_end_without_a_beginning(sink: Sink) -> None:
    """A trial that fails early has no incident, no windows, perhaps no start that this sink has seen."""
    sink(sample.invalid()[-1])
    sink(sample.interrupted()[-1])


def hostile(event: Event) -> Event:
    if isinstance(event, IncidentCreated):
        incident = replace(event.incident, symptoms=sample.HOSTILE, error_code=sample.HOSTILE)
        return replace(event, incident=incident, signal=replace(event.signal, detail=sample.HOSTILE))
    return event
