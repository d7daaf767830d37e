"""The trial's memory on disk: events, windows, patches and the verdict, in the trial's result folder.

| file | holds |
|---|---|
| events.jsonl | every event but windows, one JSON object a line, on disk before the sink returns |
| windows.jsonl | what users saw, as it was decided while the trial ran: what the verdict rests on |
| settled.jsonl | the same, with what became of late requests |
| attempt-N.patch | what attempt N deployed |
| fix.patch | what healed, else what was deployed last |
| verdict.json | how it ended; its presence says that the trial is over |
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Self, TypeVar

from pydantic import Discriminator, TypeAdapter, ValidationError

from harness.errors import InputError, ServiceUnavailable
from harness.model.event import Deployed, Event, TrialEnded, WindowObserved
from harness.model.verdict import Verdict
from harness.model.window import Window

EVENTS, WINDOWS, SETTLED, VERDICT, FIX = (
    "events.jsonl",
    "windows.jsonl",
    "settled.jsonl",
    "verdict.json",
    "fix.patch",
)
VERSION = 2  # of the lines: a reader refuses what it does not know

_T = TypeVar("_T")
_START_OVER = "remove the trial's folder and run it again"


class Journal:
    """A sink that writes the files above into ``folder``, which it makes; one that is there is gone on with.

    InputError while another process writes there, ServiceUnavailable when the disk refuses an event.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._events = _appending(folder / EVENTS)
        try:
            fcntl.flock(self._events, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel takes it back, however we end
        except BlockingIOError:
            self._events.close()
            raise InputError(f"{folder} is in use: its trial is still running", cure="wait until it ends") from None
        self._windows = _appending(folder / WINDOWS)
        _sync_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._events.close()
        self._windows.close()

    def __call__(self, event: Event) -> None:
        try:
            self._write(event)
        except OSError as error:
            raise ServiceUnavailable(
                f"the journal in {self.folder} cannot be written: {error.strerror}",
                cure=f"make room there, then give the trial its verdict: harness resume {self.folder}",
            ) from error

    def _write(self, event: Event) -> None:
        match event:
            case WindowObserved():
                self._windows.write(_line(windows(), event.window))
                self._windows.flush()
                return
            case Deployed() if event.deployment.diff:
                write_atomically(self.folder / f"attempt-{event.attempt}.patch", _bytes(event.deployment.diff))
            case TrialEnded():
                self._settle(event)
        self._events.write(_line(events(), event))
        self._events.flush()
        os.fsync(self._events.fileno())

    def _settle(self, event: TrialEnded) -> None:
        """Before the last line is written, so that whoever waits for that line finds the folder complete."""
        write_atomically(self.folder / SETTLED, b"".join(_line(windows(), window) for window in event.windows))
        if diff := _final_diff(event.verdict):
            write_atomically(self.folder / FIX, _bytes(diff))
        write_atomically(self.folder / VERDICT, _bytes(verdict_json(event.verdict) + "\n"))


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a trial in order, without its windows.

    A last line that a crash cut short is left out. InputError where there is no journal, or damage elsewhere.
    """
    for where, line in _lines(folder / EVENTS):
        yield event_of(line, where)


def read_windows(folder: Path) -> Iterator[Window]:
    """The windows of a trial in order: settled ones once it has ended. Torn lines and errors as ``read_events``."""
    settled = folder / SETTLED
    for where, line in _lines(settled if settled.exists() else folder / WINDOWS):
        yield _value(windows(), line, where)


def read_story(folder: Path) -> Iterator[Event]:
    """All that the verdict rests on: the events, and the windows as they were decided live."""
    yield from read_events(folder)
    for where, line in _lines(folder / WINDOWS):
        window = _value(windows(), line, where)
        yield WindowObserved(at_s=window.end_s, window=window, slo_held=False)  # the judge asks the window itself


def read_verdict(folder: Path, name: str = VERDICT) -> Verdict | None:
    """How the trial ended, by the file of that ``name``; None: it is not there. InputError where it is no verdict."""
    path = folder / name
    if not path.exists():
        return None
    try:
        return verdicts().validate_python(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a verdict: {_what(error)}", cure=_START_OVER) from error


def verdict_json(verdict: Verdict) -> str:
    """As it stands in verdict.json."""
    return json.dumps(_plain(verdicts(), verdict), indent=2, ensure_ascii=False)


def event_of(line: bytes, where: str) -> Event:
    """One whole line of ``events.jsonl``. InputError names ``where`` it stood."""
    return _value(events(), line, where)


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old content or the new, never a part, also after a crash."""
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    with passing.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    passing.replace(path)
    _sync_folder(path.parent)


def _final_diff(verdict: Verdict) -> str:
    live = [attempt for attempt in verdict.attempts if attempt.deployment and attempt.deployment.diff]
    healed = [attempt for attempt in live if attempt.outcome == "recovered"]
    last = (healed or live)[-1:]
    return last[0].deployment.diff if last and last[0].deployment else ""


def _appending(path: Path) -> BinaryIO:
    """Opened to append; a line that a crash cut short is cut off first, lest the next one is glued to it."""
    file = path.open("ab")
    whole = path.read_bytes()
    if whole and not whole.endswith(b"\n"):
        file.truncate(whole.rfind(b"\n") + 1)
    return file


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path.parent} holds no {path.name}", cure="name the result folder of a trial") from None
    with file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield f"{path}:{number}", line


def _value(adapter: TypeAdapter[_T], line: bytes, where: str) -> _T:
    try:
        fields = json.loads(line)
        version = fields.pop("v", None) if isinstance(fields, dict) else None
        if version == VERSION:
            return adapter.validate_python(fields)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: damaged: {_what(error)}", cure=_START_OVER) from error
    raise InputError(
        f"{where}: written in version {repr(version)[:80]} of the journal; this program reads version {VERSION}",
        cure="read it with the version of the harness that wrote it, or run the trial again",
    )


def _what(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _line(adapter: TypeAdapter[_T], value: _T) -> bytes:
    line = json.dumps({"v": VERSION, **_plain(adapter, value)}, ensure_ascii=False, separators=(",", ":"))
    return _bytes(line + "\n")


def _plain(adapter: TypeAdapter[_T], value: _T) -> dict[str, Any]:
    # warnings off: a list where the type says tuple is no reason to lose an event
    plain: dict[str, Any] = adapter.dump_python(value, warnings="none")
    return plain


def _bytes(text: str) -> bytes:
    """As UTF-8. Lone surrogates, which logs and models may hold, become question marks."""
    return text.encode("utf-8", "replace")


@cache
def events() -> TypeAdapter[Event]:
    """Of a line of events.jsonl, but for its version."""
    return TypeAdapter(Annotated[Event, Discriminator("type")])


@cache
def windows() -> TypeAdapter[Window]:
    """The same of windows.jsonl and settled.jsonl."""
    return TypeAdapter(Window)


@cache
def verdicts() -> TypeAdapter[Verdict]:
    """Of verdict.json."""
    return TypeAdapter(Verdict)


def _sync_folder(folder: Path) -> None:
    """So that a new name in the folder outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
