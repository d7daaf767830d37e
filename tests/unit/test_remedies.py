"""Code changes on the kinds of code that people write; what comes out is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from harness.fixing.remedies import REMEDIES
from harness.model.source import SourceTree

Parameters = Mapping[str, str | int | float | bool]


def applied(name: str, source: str, parameters: Parameters) -> str:
    """The module after the remedy, which must be idempotent."""
    tree = SourceTree(files={"app.py": source})
    once = {edit.path: edit.content for edit in REMEDIES[name](tree, parameters)}
    after = SourceTree(files=tree.files | once)
    assert REMEDIES[name](after, parameters) == []
    return after.files["app.py"]


def bounded(source: str, ms: int = 500) -> str:
    return applied("statement_timeout", source, {"ms": ms})


def selecting(source: str) -> str:
    return applied("select_columns", source, {})


def engine_arguments(source: str, names: Mapping[str, object]) -> dict[str, object]:
    """The keyword arguments that the module gives to create_engine when it runs."""
    given: dict[str, object] = {}

    def create_engine(*args: object, **kwargs: object) -> None:
        given.update(kwargs)

    body = re.sub(r"^(from|import) .*sqlalchemy.*$", "", source, flags=re.MULTILINE)
    library = SimpleNamespace(create_engine=create_engine, engine_from_config=create_engine)
    exec(body, {"create_engine": create_engine, "sa": library, "sqlalchemy": library, **names})  # our own test code
    return given


IMPORT = "from sqlalchemy import create_engine\n"
LIMIT = "-c statement_timeout=500"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("create_engine(url)", {"options": LIMIT}),
        ("create_engine(url, connect_args=None)", {"options": LIMIT}),
        ("create_engine(url, connect_args={})", {"options": LIMIT}),
        ("create_engine(url, connect_args={'connect_timeout': 3})", {"connect_timeout": 3, "options": LIMIT}),
        ("create_engine(url, connect_args={'options': ''})", {"options": f" {LIMIT}"}),
        ("create_engine(url, connect_args={'options': None})", {"options": LIMIT}),
        ("create_engine(url, connect_args={'options': '-c timezone=UTC'})", {"options": f"-c timezone=UTC {LIMIT}"}),
        ("create_engine(url, connect_args={'options': '-c statement_timeout=0'})", {"options": LIMIT}),
        (
            "create_engine(url, connect_args={'options': '-cstatement_timeout=60s'})",
            {"options": LIMIT.replace(" ", "")},
        ),
        (
            "create_engine(url, connect_args={'options': '-c statement_timeout=200'})",
            {"options": LIMIT.replace("5", "2")},
        ),
        (
            "create_engine(url, connect_args={'options': f'-c search_path={schema}'})",
            {"options": f"-c search_path=s {LIMIT}"},
        ),
        ("create_engine(url, connect_args={'options': f'-c statement_timeout={limit_ms}'})", {"options": LIMIT}),
        (
            "create_engine(url, connect_args={'options': f'-c statement_timeout={limit_ms} -c search_path={schema}'})",
            {"options": f"{LIMIT} -c search_path=s"},
        ),
        ("create_engine(url, connect_args={'options': '-c a=1 ' + '-c b=2'})", {"options": f"-c a=1 -c b=2 {LIMIT}"}),
        ("create_engine(url, connect_args={'options': options()})", {"options": f"-c a=1 {LIMIT}"}),
        ("create_engine(url, connect_args=given)", {"sslmode": "require", "options": f"-c a=1 {LIMIT}"}),
        ("create_engine(url, connect_args=nothing)", {"options": f" {LIMIT}"}),
        ("create_engine(url, connect_args=make())", {"n": 1, "options": f"-c a=1 {LIMIT}"}),
        ("create_engine(url, connect_args=dict(n=2))", {"n": 2, "options": f" {LIMIT}"}),
        (
            "create_engine(url, connect_args={**given, 'n': 1})",
            {"sslmode": "require", "n": 1, "options": f"-c a=1 {LIMIT}"},
        ),
        ("create_engine(url, **{'connect_args': {'n': 1}})", {"n": 1, "options": LIMIT}),
        ("create_engine(url, **{'pool_size': 3})", {"options": LIMIT}),
        ("create_engine(url, **engine)", {"n": 7, "options": f" {LIMIT}"}),
        ("create_engine(url, **bare)", {"options": f" {LIMIT}"}),
        ("create_engine(url, **make_engine())", {"n": 8, "options": f" {LIMIT}"}),
        ("create_engine(url, connect_args=given, **bare)", {"sslmode": "require", "options": f"-c a=1 {LIMIT}"}),
        ("sa.create_engine(url)", {"options": LIMIT}),
        ("sa.engine_from_config(settings, prefix='db.')", {"options": LIMIT}),
    ],
)
def test_statement_timeout_reaches_the_connection(call: str, expected: dict[str, object]) -> None:
    made: list[int] = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"n": len(made), "options": "-c a=1"}

    names = {
        "url": "postgresql://", "schema": "s", "limit_ms": 0, "options": lambda: "-c a=1", "nothing": None,
        "given": {"sslmode": "require", "options": "-c a=1"}, "make": make, "engine": {"connect_args": {"n": 7}},
        "bare": {"pool_size": 3}, "make_engine": lambda: {"connect_args": {"n": 8}}, "settings": {},
    }  # fmt: skip
    after = bounded(f"import sqlalchemy as sa\n{IMPORT}engine = {call}\n".replace("engine = create", "made = create"))
    assert engine_arguments(after, names)["connect_args"] == expected
    assert len(made) <= 1  # what may have effects is evaluated once


def test_other_arguments_and_layout_stay() -> None:
    source = f"""\
{IMPORT}
def make_engine(settings):
    # one pool for the process
    return create_engine(
        settings.url,
        pool_size=settings.pool,
        connect_args={{
            "connect_timeout": 3,  # seconds
        }},
    )
"""
    assert bounded(source) == source.replace(
        '"connect_timeout": 3,  # seconds\n',
        '"connect_timeout": 3,  # seconds\n            "options": "-c statement_timeout=500",\n',
    )


def test_options_over_several_lines_keep_their_lines() -> None:
    source = f"""{IMPORT}
made = create_engine(
    url,
    connect_args={{
        "options": "-c timezone=UTC "
        "-c statement_timeout=0",
        **more,
    }},
)
"""
    assert bounded(source) == source.replace("=0", "=500")
    source = source.replace('"-c statement_timeout=0"', '"-c a=b"')
    assert engine_arguments(bounded(source), {"url": "", "more": {}})["connect_args"] == {
        "options": f"-c timezone=UTC -c a=b {LIMIT}"
    }


def test_a_constant_of_the_module_is_known() -> None:
    source = f"{IMPORT}MS = %d\nmade = create_engine(url, connect_args={{'options': f'-c statement_timeout={{MS}}'}})\n"
    assert bounded(source % 400) == source % 400
    assert "statement_timeout=500" in bounded(source % 4000)


def test_flask_sqlalchemys_engine_options() -> None:
    source = 'class Config:\n    SQLALCHEMY_ENGINE_OPTIONS = {"pool_size": 5}\n'
    config: dict[str, SimpleNamespace] = {}
    exec(bounded(source), config)
    options = {"pool_size": 5, "connect_args": {"options": LIMIT}}
    assert options == config["Config"].SQLALCHEMY_ENGINE_OPTIONS
    assert '"connect_args"' in bounded('app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {}\n')


@pytest.mark.parametrize(
    "source",
    [
        "from engines import create_engine  # not sqlalchemy\ncreate_engine(url)\n",
        f'{IMPORT}made = create_engine("sqlite:///file.db")\n',
        f"from alembic import context\n{IMPORT}made = create_engine(url)\n",
        "import sqlalchemy as sa\nprint(sa.__version__)\n",
        "import sqlalchemy\nthis is no python\n",
    ],
)
def test_statement_timeout_leaves_alone_what_is_not_its_business(source: str) -> None:
    assert bounded(source) == source


@pytest.mark.parametrize("name", REMEDIES)
def test_protected_files_and_tests_are_left_alone(name: str) -> None:
    source = (
        "import httpx\nfrom sqlalchemy import create_engine, select, text\nmade = create_engine(url)\n"
        "def ask():\n    httpx.get(url)\n    return select().select_from(T), text('SELECT FROM t')\n"
    )
    paths = ("app/free.py", "app/kept.py", "vendor/lib.py", "app/tests/test_it.py", "app/conftest.py")
    tree = SourceTree(files=dict.fromkeys(paths, source), editable=("app/**",), protected=("app/kept.py",))
    parameters = {"ms": 500, "timeout_s": 1.0, "failures": 3, "cooldown_s": 5}
    assert {edit.path for edit in REMEDIES[name](tree, parameters)} - {"app/upstream_guard.py"} == {"app/free.py"}


SELECT = "import sqlalchemy as sa\nfrom sqlalchemy import select, text, literal_column, join\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("select().select_from(Order)", "select(Order)"),
        ("sa.select().select_from(models.Order)", "sa.select(models.Order)"),
        ("db.select().select_from(Order)", "db.select(Order)"),
        ("select().select_from(Order).where(Order.id == 1).limit(5)", "select(Order).where(Order.id == 1).limit(5)"),
        ("select().where(Order.id == 1).select_from(Order)", "select(Order).where(Order.id == 1)"),
        ('select(text("")).select_from(Order)', "select(Order)"),
        ('select(sa.literal_column(" ")).select_from(Order)', "select(Order)"),
        ("select().select_from(join(A, B))", "select(A).select_from(join(A, B))"),
        ("select().select_from(A.join(B).join(C))", "select(A).select_from(A.join(B).join(C))"),
        ('text("SELECT FROM orders")', 'text("SELECT * FROM orders")'),
        ('sa.text("SELECT DISTINCT FROM orders")', 'sa.text("SELECT DISTINCT * FROM orders")'),
        ('session.execute("select from orders where id = 1")', 'session.execute("select * from orders where id = 1")'),
        ('op.execute(text("INSERT INTO a SELECT FROM b"))', 'op.execute(text("INSERT INTO a SELECT * FROM b"))'),
        ('text(f"SELECT FROM {table} WHERE id = :id")', 'text(f"SELECT * FROM {table} WHERE id = :id")'),
        ('text("SELECT " "FROM orders")', 'text("SELECT *" " FROM orders")'),
        ('text("SELECT " + "FROM orders")', 'text("SELECT *" + " FROM orders")'),
        ('text("""SELECT\n  FROM orders""")', 'text("""SELECT *\n  FROM orders""")'),
        ('text("SELECT id, total, FROM orders")', 'text("SELECT id, total FROM orders")'),
        ('text("SELECT id,\\n FROM orders")', 'text("SELECT id\\n FROM orders")'),
    ],
)
def test_select_columns(before: str, after: str) -> None:
    changed = selecting(f"{SELECT}query = {before}\n")
    assert re.sub(r"\s", "", changed) == re.sub(r"\s", "", f"{SELECT}query = {after}\n")
    compile(changed, "app.py", "exec")


def test_a_statement_over_several_lines_keeps_its_lines() -> None:
    source = (
        SELECT
        + """
def page(session, offset):
    return session.execute(
        text(
            "SELECT "  # the columns went
            "FROM products "
            "ORDER BY id OFFSET :offset LIMIT :limit"
        ),
        {"offset": offset},
    )

ROWS = ("SELECT " +
    "FROM rows")
session.execute(ROWS)
"""
    )
    after = selecting(source)
    assert after == source.replace('"SELECT "', '"SELECT * "')
    compile(after, "app.py", "exec")


def test_sql_that_is_handed_over_by_name() -> None:
    source = (
        SELECT + 'LIST = "SELECT FROM orders"\nNOTE = "SELECT FROM nothing"\n\ndef run(c):\n    c.execute(text(LIST))\n'
    )
    assert selecting(source) == source.replace("SELECT FROM orders", "SELECT * FROM orders")


@pytest.mark.parametrize(
    "line",
    [
        "select(Order.id).select_from(Order)",
        "table.select().select_from(Order)",
        "select().select_from(subquery())",
        'text("SELECT * FROM orders")',
        'text("SELECT a IS DISTINCT FROM b FROM orders")',
        "text(\"INSERT INTO notes VALUES ('hello, from us')\")",
        'text("DELETE FROM orders")',
        'print("SELECT FROM orders")',
        'text("SELECT FROM")',
        'text("SELECT " + columns + " FROM orders")',
        'text("SELECT pg_sleep(5)")',
    ],
)
def test_select_columns_leaves_sound_statements_alone(line: str) -> None:
    assert selecting(f"{SELECT}query = {line}\n") == f"{SELECT}query = {line}\n"


def test_a_mended_query_compiles_to_named_columns() -> None:
    source = """
from sqlalchemy import Integer, select
from sqlalchemy.orm import DeclarativeBase, mapped_column

class Base(DeclarativeBase): ...

class Order(Base):
    __tablename__ = "orders"
    id = mapped_column(Integer, primary_key=True)
    total = mapped_column(Integer)

query = select().select_from(Order).where(Order.id == 1)
"""
    module: dict[str, object] = {"__name__": __name__}
    exec(selecting(source), module)
    expected = "SELECT orders.id, orders.total FROM orders WHERE orders.id = :id_1"
    assert " ".join(str(module["query"]).split()) == expected


def test_crlf_files_keep_their_line_ends() -> None:
    source = IMPORT.replace("\n", "\r\n") + "made = create_engine(\r\n    url,\r\n)\r\n"
    assert "\n" not in bounded(source).replace("\r\n", "")
