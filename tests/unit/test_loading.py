"""A mistake in a scenario file is told with its file, line, key and cure, and never by a traceback."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

from harness.errors import InputError, ScenarioError
from harness.loading import LoadedScenario, load_scenario, scenario_files

GOOD = """\
metadata: {name: shop_is_slow, title: The shop is slow}
target:
  app: shop
  defect: patches/defect.patch
load:
  arrivals: {rate: 30}
  routes:
    - {name: browse, weight: 3, request: GET /products}
    - name: buy
      weight: 1
      request: POST /orders
      json: {product: 1}
slos:
  - {name: browse-fast, routes: [browse], latency: {p95Ms: 300}, objective: 0.99}
method:
  - {action: http, request: POST /fault, rate: 2}
  - action: upstream
    upstream: payments
    mode: latency
checks: [checks]
"""
APP = """\
name: shop
source: ["*.py"]
editable: ["*.py"]
web: {command: [python, -m, gunicorn, "app:app"]}
upstreams: [{name: payments, module: mock_api, env: PAYMENTS_URL}]
health: /health
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where scenarios lie: the app stands above them, as in the checkout."""
    here = tmp_path / "scenarios"
    (here / "checks").mkdir(parents=True)
    (here / "patches").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "app.yml").write_text(APP)
    (here / "patches" / "defect.patch").write_text("--- a/app.py\n+++ b/app.py\n")
    (here / "checks" / "test_shop.py").write_text("def test_it(): ...\n")
    return here


def load(folder: Path, text: str = GOOD) -> LoadedScenario:
    file = folder / "slow.yml"
    file.write_text(text, encoding="utf-8")
    return load_scenario(file)


def refusal(folder: Path, text: str | bytes) -> ScenarioError:
    file = folder / "slow.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert time.monotonic() - started < 20, "a small file is refused quickly"
    assert caught.value.file == file and str(file) in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def put(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_file_is_loaded_with_the_files_it_names(folder: Path) -> None:
    (folder.parent / "kb").mkdir()
    loaded = load(folder)
    assert loaded.spec.metadata.name == "shop_is_slow"
    assert [route.name for route in loaded.spec.load.routes] == ["browse", "buy"]
    assert loaded.app == folder.parent / "shop" and loaded.manifest.name == "shop"
    assert loaded.defect == folder / "patches" / "defect.patch" and loaded.reference is None
    assert loaded.checks == (folder / "checks",)
    assert loaded.kb == folder.parent / "kb"
    assert loaded.path("patches/defect.patch").is_file()


def test_what_is_left_out_has_the_documented_defaults(folder: Path) -> None:
    spec = load(folder).spec
    assert (spec.load.arrivals.process, spec.load.arrivals.max_in_flight) == ("poisson", 200)
    assert spec.load.routes[0].expect.status == (200,)
    assert (spec.steady_state.warmup_s, spec.steady_state.hold_s) == (3.0, 5.0)
    assert spec.detection.markers and spec.detection.burn_rate is not None
    assert (spec.recovery.consecutive, spec.recovery.min_requests, spec.recovery.horizon_s) == (5, 20, 60.0)
    assert (spec.budget.attempts, spec.budget.fixer_usd) == (3, None)
    assert [fault.at_s for fault in spec.method] == [0.0, 0.0]


MISTAKES = {
    "key": (put("defect:", "defekt:"), 4, "target.defekt", "unknown key", "did you mean defect?"),
    "required key": (put("slos:", "slo:"), 13, "slo", "unknown key", "did you mean slos?"),
    "key of an action": (put("rate: 2", "rte: 2"), 16, "method.0.rte", "unknown key", "did you mean rate?"),
    "key of an action named like a key": (
        *(put("    mode:", "    moode:"), 19, "method.1.moode", "unknown key", "did you mean mode?"),
    ),
    "key in a list": (put("json:", "jsn:"), 12, "load.routes.1.jsn", "unknown key", "did you mean json?"),
    "key's spelling": (put("p95Ms", "p95_Ms"), 14, "slos.0.latency.p95_Ms", "unknown key", "did you mean p95Ms?"),
    "key like no other": (put("checks: [", "zzz: ["), 20, "zzz", "unknown key", "known here: budget, c"),
    "missing": (put("      weight: 1\n", ""), 9, "load.routes.1.weight", "required key is missing", "add weight:"),
    "no action": (put("action: http, ", ""), 16, "method.0.action", "required key is missing", "add action:"),
    "action": (put(": http", ": htp"), 16, "method.0.action", "unknown action 'htp'", "did you mean http?"),
    "action like no other": (
        *(put(": http", ": quake"), 16, "method.0.action", "unknown action 'quake'", "known: http, upstream"),
    ),
    "type": (put("weight: 3", "weight: heavy"), 8, "load.routes.0.weight", "valid number", "given: 'heavy'"),
    "rate with a unit": (put("rate: 30", "rate: 30rps"), 6, "load.arrivals.rate", "valid number", "30rps"),
    "duration's unit": (GOOD + "budget: {fixer: 5sec}\n", 21, "budget.fixer", "'5sec' is no duration", "ms, s, m, h"),
    "endless budget": (GOOD + "budget: {fixerUsd: inf}\n", 21, "budget.fixerUsd", "finite number", ""),
    "duration, yes": (GOOD + "budget:\n  fixer: yes\n", 22, "budget.fixer", "a duration is", "given: True"),
    "request": (put("GET /", "FETCH /"), 8, "load.routes.0.request", "is no request", "such as GET /products"),
    "word for a block": (put("{rate: 30}", "fast"), 6, "load.arrivals", "a block of keys is wanted", "fast"),
    "word for an action": (put("{action: http, request: POST /fault, rate: 2}", "x"), 16, "method.0", "block", ""),
    "word for a list": (put("[checks]", "checks"), 20, "checks", "a list is wanted", "given: 'checks'"),
    "an SLO's route": (put("[browse]", "[brwse]"), 14, "slos.0.routes.0", "'brwse', which load.routes", "browse, buy"),
    "a route in two SLOs": (
        GOOD.replace("method:", "  - {name: also, routes: [browse], latency: {p95Ms: 9}, objective: 0.9}\nmethod:"),
        *(15, "slos.1.routes.0", "the slos name the route 'browse' twice", "keep one"),
    ),
    "upstream": (
        *(put("upstream: payments", "upstream: pay"), 18, "method.1.upstream", "no upstream 'pay'", "has: payments"),
    ),
    "file": (put("defect.p", "defct.p"), 4, "target.defect", "no such file: 'patches/defct", "did you mean defect.p"),
    "folder for a file": (put("/defect.patch", ""), 4, "target.defect", "no such file", "relative to"),
    "folder": (put("[checks]", "[chekcs]"), 20, "checks.0", "no such folder: 'chekcs'", "did you mean checks?"),
    "file for a folder": (put("[checks]", "[checks/test_shop.py]"), 20, "checks.0", "no such folder", "relative to"),
    "app": (put("app: shop", "app: shoop"), 3, "target.app", "no app 'shoop'", "app.yml"),
    "key given twice": (put("  defect:", "  app: b\n  defect:"), 4, "target.app", "given twice", "keep one"),
    "unclosed": (put("app: shop", "app: [shop"), 4, "", "not YAML", "check indentation"),
    "tab": (put("  app: shop", "\tapp: shop"), 3, "", "not YAML", "check indentation"),
    "only a word": ("just words\n", 1, "", "a block of keys is wanted", "given: 'just words'"),
    "only a list": ("- a\n- b\n", 1, "", "a block of keys is wanted", ""),
    "nothing": ("", None, "", "the file is empty", "start from"),
    "only a comment": ("# only words\n", None, "", "the file is empty", "start from"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "", "not YAML", ""),
    "no number": (put("rate: 30", "rate: .inf"), 6, "", "'.inf' is not a finite number", ""),
    "a number too large": (put("rate: 30", "rate: 1.0e+999"), 6, "", "'1.0e+999' is not a finite number", ""),
    "bytes": (put("The shop is slow", "!!binary aGk="), 1, "", "not YAML: could not determine", ""),
    "half a character": (put("The shop is slow", '"\\ud83d"'), 1, "", "holds half a character", ""),
    "no character": (put("The shop is slow", '"\\UFFFFFFFF"'), 1, "", "not YAML", "check indentation"),
    "no version": ("%YAML 1." + "1" * 5000 + "\n---\n" + GOOD, 1, "", "not YAML", "check indentation"),
    "a key in a language of its own": (put("checks: [", '"\\e[2J\\n": ['), 20, "\\x1b[2J\\n", "unknown key", ""),
    "no file's name": (put("defect.p", "x" * 3000), 4, "target.defect", "no such file: 'patches/xxx", "relative to"),
    "no app's name": (put("app: shop", "app: " + "x" * 3000), 3, "target.app", "no app 'xxx", "app.yml"),
    "nul in a name": (put("[checks]", '["a\\0/b"]'), 20, "checks.0", "no such folder: 'a\\x00/b'", ""),
    "below a key that is no text": (put("name: browse,", "name: browse, ? 1 : 2,"), 8, "load.routes.0.1", "", ""),
    "no int": (put("rate: 30", "rate: !!int x"), 6, "", "'x' cannot be read as int", "in quotes"),
    "no bool": (put("rate: 30", "rate: !!bool x"), 6, "", "'x' cannot be read as bool", "in quotes"),
    "list for a key": (put("{rate: 30}", "{? [a, b] : 1}"), 6, "", "not YAML: found unhashable key", ""),
    "code": (put("app: shop", "app: !!python/object/apply:os.abort []"), 3, "", "not YAML: could not", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "message", "cure"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_where_it_stands(
    folder: Path, text: str, line: int | None, key: str, message: str, cure: str
) -> None:
    error = refusal(folder, text)
    assert (error.line, error.key) == (line, key), str(error)
    assert message in error.message and cure in str(error)
    assert "pydantic" not in str(error)


DAMAGE = {
    "not UTF-8": (b"\xff\xfe\x00metadata", "cannot be read"),
    "long, two bytes a character": (("# " + "é" * 60_000 + "\n" + GOOD).encode(), "longer than"),
    "nul": (b"metadata:\n  name: a\x00b\n", "not YAML: special characters are not allowed"),
    "long": (b"title: '" + b"x" * 200_000 + b"'\n", "longer than"),
    "deep": (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
    "rather deep": (b"a: " + b"{b: " * 60 + b"1" + b"}" * 60, "nested too deep"),
    "endless": (b"a: &a [*a]\n", "nested too deep"),
    "endless block": (b"metadata: &m\n  name: *m\n", "nested too deep"),
    "long number": (b"rate: " + b"9" * 5000, "cannot be read as int"),
    "longer number": (b"rate: 0x" + b"f" * 5000, "does not fit into 64 bits"),
    "number in minutes": (b"rate: 1" + b":59" * 30_000, "has more than 10000 characters"),
    "spaces": (GOOD.encode() + b"budget: {fixer: '1" + b" " * 90_000 + b"!'}", "has more than 10000 characters"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_refused_quickly(folder: Path, damage: bytes, message: str) -> None:
    error = refusal(folder, damage)
    assert message in error.message and error.cure


def test_a_billion_laughs_end_quickly(folder: Path) -> None:
    bomb = "l0: &l0 {lol: lol}\n"
    for level in range(1, 12):
        bomb += f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]\n"
    assert "too many keys" in refusal(folder, f"load:\n{textwrap.indent(bomb, '  ')}").message


def test_an_alias_is_what_it_stands_for(folder: Path) -> None:
    text = put("latency: {p95Ms: 300}", "latency: &limit {p95Ms: 300}")
    text = text.replace("method:", "  - {name: buy-fast, routes: [buy], latency: *limit, objective: 0.9}\nmethod:")
    assert [slo.latency.p95_ms for slo in load(folder, text).spec.slos] == [300, 300]


def test_a_date_is_a_text_and_what_merges_is_merged(folder: Path) -> None:
    """Bodies go out as JSON, which knows no dates."""
    text = put("json: {product: 1}", "json: {day: 2026-02-30, <<: &more {product: 1, at: 2026-11-07 12:00:00}}")
    assert load(folder, text).spec.load.routes[1].json_body == {
        "day": "2026-02-30",
        "product": 1,
        "at": "2026-11-07 12:00:00",
    }


def test_a_folder_that_holds_too_much_is_refused_quickly(folder: Path) -> None:
    assert "more than 1000 files" in refusal(folder, put("[checks]", "[/]")).message
    (folder / "patches" / "defect.patch").write_bytes(b"x" * 10_000_001)
    assert "longer than 10000000 bytes" in refusal(folder, GOOD).message


def test_a_file_that_is_not_there_is_told_with_its_nearest_neighbour(folder: Path) -> None:
    load(folder)
    with pytest.raises(ScenarioError, match=r"slwo\.yml: no such file") as caught:
        load_scenario(folder / "slwo.yml")
    assert "did you mean" in caught.value.cure and "slow.yml" in caught.value.cure
    with pytest.raises(ScenarioError, match="no such file"):
        load_scenario(folder / "nowhere" / "x.yml")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(folder)


def test_a_mistake_in_the_apps_own_file_names_that_file(folder: Path) -> None:
    app = folder.parent / "shop" / "app.yml"
    app.write_text(APP.replace("health: /health", "helth: /health"))
    with pytest.raises(ScenarioError) as caught:
        load(folder)
    assert (caught.value.file, caught.value.line, caught.value.key) == (app, 6, "helth")
    assert caught.value.cure == "did you mean health?"


def test_the_hash_changes_with_every_file_that_is_named_and_with_no_other(folder: Path) -> None:
    first = load(folder).hash
    (folder / "checks" / "__pycache__").mkdir()
    (folder / "checks" / "__pycache__" / "test_shop.pyc").write_bytes(b"compiled")
    (folder / "other.yml").write_text("not named")
    assert load(folder).hash == first
    seen = {first}
    for file in ("patches/defect.patch", "checks/test_shop.py", "checks/orders.json", "../shop/app.yml"):
        path = folder / file
        path.write_text(path.read_text() + "# more\n" if path.exists() else "{}")
        seen.add(load(folder).hash)
    (folder.parent / "shop" / "more.py").write_text("more")
    seen.add(load(folder).hash)
    (folder / "checks" / "orders.json").rename(folder / "checks" / "buyers.json")
    seen |= {load(folder).hash, load(folder, GOOD + "# more\n").hash}
    assert len(seen) == 8


def test_scenarios_are_the_files_named_or_all_of_the_folder(folder: Path) -> None:
    named = (Path("b.yml"), Path("a.yml"))
    assert scenario_files(named, folder) == list(named)
    load(folder)
    (folder / "also.yml").write_text(GOOD)
    assert scenario_files((), folder) == [folder / "also.yml", folder / "slow.yml"]
    with pytest.raises(InputError, match="no scenario in"):
        scenario_files((), folder / "checks")
