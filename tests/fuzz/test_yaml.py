"""Whatever stands in a scenario file: it is a scenario, or an error that says where, and quickly."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ScenarioError
from harness.loading import LoadedScenario, load_scenario
from harness.model.scenario import Scenario

SHIPPED = Path(__file__).parents[2] / "scenarios"
NAMES = ("malformed_sql", "pool_exhaustion", "upstream_latency")
TEXTS = {name: (SHIPPED / f"{name}.yml").read_text() for name in NAMES}
DEEPEST = 40  # of what is made here


@dataclass(frozen=True)
class Raw:
    """A value as the file spells it."""

    text: str


@dataclass(frozen=True)
class Block:
    """A mapping as its file has it: a key may come twice."""

    entries: tuple[tuple[object, object], ...]


RAW = st.sampled_from(
    [
        *(".nan", ".inf", "-.inf", "1e999", "1.0e+999", "0x" + "f" * 5000, "9" * 5000, "1" + ":59" * 3000, "0o7", "08"),
        *("!!int x", "!!float x", "!!bool x", "!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]"),
        *("!!timestamp 2026-02-30", "2026-02-30", "2026-11-07 12:00:00 +99:99", "!!python/object/apply:os.abort []"),
        *("*nowhere", "&a [*a]", "&a {b: *a}", "!<%ff> x", "!!str {}", "!!map []", "!!seq {}", "!!null x"),
        *("{? [a] : 1}", "{? {a: 1} : 1}", "{<<: [1]}", "{<<: &m {<<: *m}}", "{<<: {a: 1}, a: 2}", "%YAML 1.1"),
        *('"\\ud800"', '"\\UFFFFFFFF"', '"\\U00110000"', '"\\0"', '"\\e[2J"', '"\\x80"', "'unclosed", '"unclosed'),
        *("[" * DEEPEST + "]" * DEEPEST, "{a: " * DEEPEST + "1" + "}" * DEEPEST, "[" * 2000, "{" * 2000),
        "[&a [1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c], [*d,*d,*d]]",
        *("~", "yes", "off", "=", "<<", "|\n  text", ">-\n  text", "--- x", "...", "@", "`", "\t", "# no value"),
    ]
)
NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 0.0, -0.0, 1e-320, 1e308, 0.5, 1 / 3]) | st.integers()
WORDS = st.sampled_from(
    [
        *("", " ", "/", "..", ".", "~", "a\0b", "/dev/null", "/dev/zero", "/proc/self/mem", "x" * 300, "x/" * 3000),
        *("5s", "5ms", "1e3s", "-5s", "inf", "nan", "9" * 400, "٣s", "1" + " " * 9000 + "!", "{a}", "{page}", "GET /"),
        *("GET /\n", "get /", "TRACE /", "GET /{nope}", "http", "upstream", "defect", "target_app", "patch", "checks"),
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.floats() | WORDS | st.text(max_size=30)
KEYS = st.sampled_from(["<<", "action", "name", "at", "for", "1", "", "json", "headers"]) | SCALARS | RAW.map(Raw)
VALUES = st.recursive(
    SCALARS | RAW.map(Raw),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(lambda entries: Block(tuple(entries)))
    ),
    max_leaves=12,
)


def blocks(value: object) -> object:
    if isinstance(value, dict):
        return Block(tuple((key, blocks(each)) for key, each in value.items()))
    return [blocks(each) for each in value] if isinstance(value, list) else value


DOCUMENTS = {name: blocks(yaml.safe_load(text)) for name, text in TEXTS.items()}


def spelt(value: object) -> str:
    """In YAML's flow style, a line for each entry."""
    match value:
        case Raw(text):
            return text
        case Block(entries):
            return "{" + "".join(f"\n? {spelt(key)}\n: {spelt(each)}\n," for key, each in entries) + "}"
        case list():
            return "[" + "".join(f"\n{spelt(each)}\n," for each in value) + "]"
        case float() if not math.isfinite(value):
            return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
        case _:
            return json.dumps(value)


@st.composite
def damaged(draw: st.DrawFn, value: object) -> object:
    """The value with one thing changed somewhere inside."""
    inner = value.entries if isinstance(value, Block) else value if isinstance(value, list) else ()
    if not inner or draw(st.integers(0, 4)) == 0:
        return draw(VALUES)
    at = draw(st.integers(0, len(inner) - 1))
    rest = [*inner[:at], *inner[at + 1 :]]
    match draw(st.sampled_from(["deeper", "deeper", "deeper", "drop", "twice", "rename", "add"])):
        case "drop":
            changed = rest
        case "twice":
            changed = [*inner, inner[at]]
        case "rename" if isinstance(value, Block):
            changed = [*rest, (draw(KEYS | st.just(f"{inner[at][0]}x")), inner[at][1])]
        case "add":
            changed = [*inner, (draw(KEYS), draw(VALUES)) if isinstance(value, Block) else draw(VALUES)]
        case _:
            part = inner[at]
            new = (part[0], draw(damaged(part[1]))) if isinstance(value, Block) else draw(damaged(part))
            changed = [*inner[:at], new, *inner[at + 1 :]]
    return Block(tuple(changed)) if isinstance(value, Block) else changed


@st.composite
def near_the_schema(draw: st.DrawFn) -> bytes:
    document = DOCUMENTS[draw(st.sampled_from(NAMES))]
    for _ in range(draw(st.integers(1, 4))):
        document = draw(damaged(document))
    return spelt(document).encode("utf-8", "surrogatepass")


PIECES = st.binary(max_size=8) | st.sampled_from(
    [
        *(b"\t", b"\r\n", b"\r", b"\n", b"  ", b"\xef\xbb\xbf", b"\0", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8"),
        *(b": ", b"- ", b"? ", b"{", b"}", b"[", b"]", b",", b"'", b'"', b"# ", b"|\n", b">\n"),
        *(b"&a ", b"*a", b"!!str ", b"<<: ", b"---\n", b"...\n", b"%TAG ! tag:x,2000:\n---\n", b'"\\UFFFFFFFF"'),
        *(b"%YAML 1." + b"1" * 5000 + b"\n---\n", b"a: " * 50, b"[" * 3000),
    ]
)


@st.composite
def near_the_text(draw: st.DrawFn) -> bytes:
    text = TEXTS[draw(st.sampled_from(NAMES))].encode()
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        stop = start + draw(st.sampled_from([0, 0, 1, 2, 10, 200]))
        text = text[:start] + draw(PIECES) + text[stop:]
    return text.replace(b"\n", draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])))


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """Where a scenario may lie: all that the shipped ones name is beside it, or above."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scenarios"
        folder.mkdir()
        (Path(name) / "target_app").symlink_to(SHIPPED.parent / "target_app")
        for path in SHIPPED.iterdir():
            if path.is_dir():
                (folder / path.name).symlink_to(path)
        yield folder / "fuzzed.yml"


def loaded(file: Path, content: bytes) -> LoadedScenario | ScenarioError:
    """What becomes of a file of that content; anything else than these two is raised."""
    file.write_bytes(content)
    try:
        return load_scenario(file)
    except ScenarioError as error:
        lines = content.decode(errors="replace").splitlines()
        assert error.file in (file, SHIPPED.parent / "target_app" / "app.yml")
        assert error.line is None or 1 <= error.line <= len(lines) + 1
        assert error.key.isprintable() and len(error.key) < 300
        assert error.cure and str(file) in error.message
        assert all(line.isprintable() for line in str(error).splitlines()), repr(str(error))
        assert len(str(error)) < 2500
        return error


def test_the_files_that_are_damaged_here_are_sound(file: Path) -> None:
    for name in NAMES:
        whole = loaded(file, spelt(DOCUMENTS[name]).encode())
        assert isinstance(whole, LoadedScenario) and whole.spec == load_scenario(SHIPPED / f"{name}.yml").spec


@given(content=near_the_schema())
def test_a_document_near_the_schema(file: Path, content: bytes) -> None:
    outcome = loaded(file, content)
    if isinstance(outcome, LoadedScenario):
        body = outcome.spec.model_dump_json(by_alias=True)
        assert Scenario.model_validate_json(body) == outcome.spec, "it goes to other processes as JSON"
    elif "unknown key" in outcome.message or "given twice" in outcome.message:
        assert outcome.line and outcome.key


@given(content=near_the_text())
def test_a_text_near_a_scenario(file: Path, content: bytes) -> None:
    loaded(file, content)


@given(content=st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary())
def test_any_bytes(file: Path, content: bytes) -> None:
    assert isinstance(loaded(file, content), ScenarioError)


@given(value=VALUES)
def test_any_document(file: Path, value: object) -> None:
    assert isinstance(loaded(file, spelt(value).encode("utf-8", "surrogatepass")), ScenarioError)


@pytest.mark.parametrize(
    "piece", [b"[", b"{a: ", b"- ", b"? ", b"&a [*a, ", b"a: 1\n", b"a", b" ", b"\n", b"\xff", b"\0"]
)
def test_ten_megabytes_are_refused_unread(file: Path, piece: bytes) -> None:
    outcome = loaded(file, piece * (10_000_000 // len(piece)))
    assert isinstance(outcome, ScenarioError) and "longer than" in outcome.message
