"""Whatever stands in the generator's file: it is read or counted as garbage, and windows stay what they are."""

from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from harness.load.samples import Samples
from harness.model.window import Window

ORIGIN, BEGAN, NOW_S = 1000.0, 1002.0, 9.0

NUMBERS = st.one_of(
    st.floats(BEGAN - 1, BEGAN + 7),
    st.floats(),
    st.integers(),
    st.sampled_from([0, -1, 10**400, -(10**400), 1e308, -1e308, 1e9, -1e9, 2**63, 5e-324]),
)
ANY = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=5), st.just([[[]]]), st.just({"k": "sent"}))
NAMES = ("n", "route", "due", "lag", "at", "end", "right", "status", "error", "k")
ROUTES = st.sampled_from(["browse", "buy"])
NUMBER, TIME = st.integers(0, 20), st.floats(BEGAN, BEGAN + 7)
SENT = st.fixed_dictionaries({"k": st.sampled_from(["sent", "dropped"]), "n": NUMBER, "route": ROUTES, "due": TIME})
SOUND = st.one_of(
    SENT.map(lambda line: {**line, "lag": 0.001}),
    st.fixed_dictionaries({"k": st.just("done"), "n": NUMBER, "right": st.booleans(), "end": TIME}),
    st.just({"k": "ready", "at": BEGAN}),
)


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """A line that looks like one of the generator's."""
    line = dict(draw(SOUND))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        if draw(st.booleans()):
            line[name] = draw(ANY)
        else:
            line.pop(name, None)
    return json.dumps(line).encode()


NO_LINES = st.sampled_from(
    [
        *(b"", b"{}", b"[]", b"7", b'"k"', b"NaN", b"null", b"\xff\xfe", b"\0", b'{"k":', b'{"k":{}}'),
        *(b'{"k":"' + b"x" * 3000, b'{"k":"' + b"9" * 5000 + b'"}', b'\xef\xbb\xbf{"k":"ready"}'),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000),
    ]
)
GARBAGE = NO_LINES | st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"") + b"\xff")


def samples() -> Samples:
    return Samples(window_s=0.5, origin=ORIGIN, thresholds_ms={"browse": 300.0}, routes=["browse"])


def fed(text: bytes, cuts: list[int]) -> tuple[Samples, list[Window]]:
    """Samples that got the text in pieces, asked after each for what is decided by then."""
    made, seen, start = samples(), [], 0
    for number, stop in enumerate(sorted({*(cut % (len(text) + 1) for cut in cuts), len(text)})):
        made.feed(text[start:stop])
        seen += made.decided(min(NOW_S, 0.1 * number))
        start = stop
    return made, seen + made.decided(NOW_S)


@given(lines=st.lists(forged() | GARBAGE, max_size=30), cuts=st.lists(st.integers(0, 10**6), max_size=8))
def test_whatever_is_written_windows_come_in_order(lines: list[bytes], cuts: list[int]) -> None:
    made, seen = fed(b"".join(line + b"\n" for line in lines), cuts)
    assert [window.index for window in seen] == list(range(len(seen)))
    assert len(seen) <= (NOW_S + 1) / 0.5, "no line makes the trial older than it is"
    assert 0 <= made.garbage <= len(lines)
    for window in (*seen, *made.settled(NOW_S)):
        json.dumps(asdict(window), allow_nan=False)
    assert sum(window.arrivals for window in made.settled(NOW_S)) <= len(lines) - made.garbage


@given(
    lines=st.lists(
        SOUND.map(lambda line: (json.dumps(line).encode(), False)) | GARBAGE.map(lambda g: (g, True)), max_size=30
    ),
    cuts=st.lists(st.integers(0, 10**6), max_size=8),
)
def test_garbage_is_counted_and_changes_nothing(lines: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    with_garbage, _ = fed(b"".join(line + b"\n" for line, _ in lines), cuts)
    without, _ = fed(b"".join(line + b"\n" for line, wrong in lines if not wrong), [])
    assert with_garbage.settled(NOW_S) == without.settled(NOW_S)
    assert with_garbage.garbage - without.garbage == sum(wrong for _, wrong in lines)
