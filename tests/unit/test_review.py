"""The review: for each rule a patch that trips it and a near miss, and fixes that must pass whole."""

from __future__ import annotations

import gc
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.fixing import guard
from harness.fixing.playbook import PlaybookFixer
from harness.fixing.review import MAX_FLAGS, RULES, review
from harness.fixing.review.rules import CHECKS
from harness.fixing.scripted import RestartFixer
from harness.git import patched, shipped
from harness.loading import LoadedScenario, load_scenario
from harness.model.faults import DefectFault
from harness.model.fix import Flag, Severity
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.retrieval.corpus import load_corpus

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yml"))
INCIDENT = Incident(
    id="inc-1", error_code="", symptoms="", breadcrumbs=(), logs=(), window=None, detected_at="2026-11-23T20:15:10Z"
)

VIEWS = '''
"""What the shop sells."""

import logging

import httpx
from flask import Blueprint, abort, jsonify, request
from sqlalchemy import text

from shop import passwords
from shop.auth import current_user_id
from shop.db import session

logger = logging.getLogger(__name__)
blueprint = Blueprint("views", __name__, url_prefix="/shop")
TIMEOUT_S = 2.0
MAX_ROWS = 100


@blueprint.get("/products")
def products():
    rows = session().execute(text("SELECT id FROM products LIMIT :limit"), {"limit": MAX_ROWS})
    return {"products": [row.id for row in rows]}


@blueprint.route("/orders", methods=["GET", "POST"])
def orders():
    user_id = current_user_id()
    return {"orders": find(user_id)}


@blueprint.post("/login")
def login():
    if not passwords.matches(request.get_json()["password"]):
        abort(401)
    return {"in": True}


@blueprint.get("/live")
def live():
    return {"status": "live"}


def find(user_id):
    try:
        found = httpx.get(f"/find/{user_id}", timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        logger.error("not found", extra={"marker": "FAULT_FIND"})
        raise
    FOUND.inc()
    return found.json()
'''
APP = """
from flask import Flask

from shop import faults, views, worker


def create_app(settings):
    app = Flask(__name__)
    for module in (views, worker):
        app.register_blueprint(module.blueprint)
    if settings.faults_enabled:
        app.register_blueprint(faults.blueprint)
    return app
"""
FAULTS = """
from flask import Blueprint

blueprint = Blueprint("faults", __name__, url_prefix="/test-fault")


@blueprint.post("/slow")
def slow():
    session().execute(text("SELECT pg_sleep(5)"))
    return {}
"""
DB = """
import sqlalchemy as sa

pool_size = 5


def create_engine(settings):
    options = {"options": OPTIONS}
    return sa.create_engine(settings.url, pool_size=5, max_overflow=2, pool_timeout=3, connect_args=options)


OPTIONS = "-c statement_timeout=500"
"""
FILES = {
    "shop/app.py": APP,
    "shop/db.py": DB,
    "shop/faults.py": FAULTS,
    "shop/views.py": VIEWS,
    "shop/worker.py": "N = 1\n",
}
TREE = SourceTree(files=FILES, editable=("**",), protected=("shop/faults.py",))

QUERY = 'session().execute(text("SELECT id FROM products LIMIT :limit"), {"limit": MAX_ROWS})'
FOUND = 'found = httpx.get(f"/find/{user_id}", timeout=TIMEOUT_S)'
GET = '    return {"products": [row.id for row in rows]}'


def flags(after: dict[str, str | None], before: SourceTree = TREE) -> tuple[Flag, ...]:
    files = {path: text for path, text in {**before.files, **after}.items() if text is not None}
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    return review(before, before.with_files(files))


def edited(old: str, new: str, path: str = "shop/views.py") -> tuple[Flag, ...]:
    assert FILES[path].count(old) == 1, old
    return flags({path: FILES[path].replace(old, new)})


def added(code: str, path: str = "shop/views.py") -> tuple[Flag, ...]:
    return flags({path: f"{FILES[path]}\n\n{dedent(code)}"})


def worst(found: tuple[Flag, ...], rule: str) -> Severity | None:
    return next((each.severity for each in found if each.rule == rule), None)


def vetoes(found: tuple[Flag, ...]) -> list[str]:
    return [f"{each.rule}: {each.path}:{each.line}: {each.message}" for each in found if each.severity == "veto"]


# code that is added

WORSE: list[tuple[str, Severity | None, str]] = [
    ("swallowed-exception", "veto", "def f():\n  try:\n    g()\n  except Exception:\n    pass"),
    ("swallowed-exception", "veto", "def f():\n  try:\n    return g()\n  except:\n    return {'products': []}"),
    ("swallowed-exception", "veto",
     "def f():\n  try:\n    g()\n  except BaseException:\n    session().rollback()\n    x = []"),
    ("swallowed-exception", "veto",
     "ANY = Exception\ndef f():\n  try:\n    g()\n  except ANY:\n    logger.debug('no')"),
    ("swallowed-exception", "veto", "import contextlib\ndef f():\n  with contextlib.suppress(Exception):\n    g()"),
    ("swallowed-exception", "veto", "def f():\n  try:\n    g()\n  finally:\n    return 1"),
    ("swallowed-exception", "veto", "class C:\n  def __exit__(self, *_):\n    return True"),
    ("swallowed-exception", "veto",
     "@blueprint.app_errorhandler(Exception)\ndef f(e):\n  return jsonify(ok=True), 200"),
    ("swallowed-exception", "veto", "@blueprint.app_errorhandler(500)\ndef f(e):\n  logger.error('x')\n  return {}"),
    ("swallowed-exception", "warning", "def f():\n  try:\n    g()\n  except KeyError:\n    pass"),
    ("swallowed-exception", "warning", "def f(c):\n  try:\n    c.close()\n  except Exception:\n    pass"),
    ("swallowed-exception", "warning", "def f():\n  try:\n    g()\n  except Exception:\n    return stored()"),
    ("swallowed-exception", None,
     "def f():\n  try:\n    g()\n  except Exception:\n    logger.exception('g')\n    return {}"),
    ("swallowed-exception", None,
     "def f():\n  try:\n    g()\n  except Exception as e:\n    tell(e)\n\ndef tell(e):\n  logger.error(e)"),
    ("swallowed-exception", None, "def f():\n  try:\n    g()\n  except Exception:\n    return answer(503, 'busy')"),
    ("swallowed-exception", None, "@blueprint.app_errorhandler(Exception)\ndef f(e):\n  return {'error': 'x'}, 500"),
    ("swallowed-exception", None, "def f():\n  try:\n    g()\n  except Exception:\n    undo()\n    raise"),
    ("answers-before-views", "veto", "@blueprint.before_app_request\ndef f():\n  return {'ok': True}"),
    ("answers-before-views", "veto",
     "@blueprint.before_app_request\ndef f():\n  if request.path != '/live':\n    abort(503)"),
    ("answers-before-views", "veto",
     "import random\n@blueprint.before_app_request\ndef f():\n  if random.random() < 0.5:\n    abort(503)"),
    ("answers-before-views", "veto",
     "@blueprint.after_app_request\ndef f(response):\n  response.status_code = 200\n  return response"),
    ("answers-before-views", "veto",
     "class M:\n  def __call__(self, environ, start_response):\n    start_response('200 OK', [])\n    return []"),
    ("answers-before-views", "veto", "def f():\n  if request.content_length is None:\n    raise ServiceUnavailable()"),
    ("answers-before-views", "warning",
     "@blueprint.before_app_request\ndef f():\n  if not SLOTS.acquire(blocking=False):\n    return {'e': 1}, 503"),
    ("answers-before-views", None, "@blueprint.before_app_request\ndef f():\n  g.started = now()"),
    ("answers-before-views", None,
     "@blueprint.after_app_request\ndef f(response):\n  response.headers['X'] = '1'\n  return response"),
    ("client-discrimination", "veto", "def f():\n  if 'Locust' in request.headers.get('User-Agent', ''):\n    g()"),
    ("client-discrimination", "veto", "def f():\n  if request.remote_addr == '127.0.0.1':\n    g()"),
    ("client-discrimination", "veto", "def f():\n  return request.environ['HTTP_X_FORWARDED_FOR']"),
    ("client-discrimination", "warning", "def f():\n  return dict(request.headers)"),
    ("client-discrimination", None, "def f():\n  logger.info('from %s', request.remote_addr)"),
    ("client-discrimination", None, "def f():\n  return httpx.get('/x', headers={'User-Agent': 'shop'})"),
    ("client-discrimination", None, "def f():\n  return request.headers.get('Idempotency-Key')"),
    ("fault-trigger", "veto", "from shop import faults\ndef f():\n  faults.SLEEP_S = 0"),
    ("fault-trigger", "veto", "from .faults import blueprint as b\nb.before_request(lambda: ({}, 200))"),
    ("fault-trigger", "veto", "def f():\n  if request.path.startswith('/test-fault'):\n    g()"),
    ("fault-trigger", "veto", "def f():\n  if request.path.startswith('/test'):\n    g()"),
    ("fault-trigger", "veto", "def f(statement):\n  if 'pg_sleep' in statement:\n    g()"),
    ("fault-trigger", "veto", "def f(settings):\n  settings.faults_enabled = False"),
    ("fault-trigger", None, "def f():\n  logger.warning('pg_sleep was seen')"),
    ("fault-trigger", None, "def f():\n  return request.path.startswith('/shop')"),
    ("monkey-patch", "veto", "from shop import db\ndb.create_engine = None"),
    ("monkey-patch", "veto", "import httpx\nhttpx.Client.send = None"),
    ("monkey-patch", "veto", "from shop import db\nsetattr(db, 'create_engine', None)"),
    ("monkey-patch", "veto", "def f(app):\n  app.view_functions['views.products'] = g"),
    ("monkey-patch", None, "from flask import g\ndef f():\n  g.session = 1"),
    ("monkey-patch", None, "def f(order):\n  order.status = 'paid'"),
    ("sql-from-strings", "veto",
     "def f(name):\n  return session().execute(text(f\"SELECT 1 FROM t WHERE n = '{name}'\"))"),
    ("sql-from-strings", "veto", "def f(c, name):\n  q = 'SELECT * FROM t WHERE n = ' + name\n  c.execute(q)"),
    ("sql-from-strings", "veto", "def f(c, name):\n  c.execute('SELECT %s' % name)"),
    ("sql-from-strings", "veto", "def f(c, name):\n  c.execute('SELECT {}'.format(name))"),
    ("sql-from-strings", "warning",
     "def f(s):\n  session().execute(text(f'SET LOCAL statement_timeout = {s.timeout_ms}'))"),
    ("sql-from-strings", None,
     "def f(n):\n  session().execute(text(f'SELECT 1 LIMIT {MAX_ROWS}'))\n  g(f'{n} things')"),
    ("sql-from-strings", None, "def f(ms):\n  session().execute(text(f'SET LOCAL statement_timeout = {int(ms)}'))"),
    ("disabled-tls", "veto", "def f():\n  return httpx.Client(verify=False, timeout=1)"),
    ("disabled-tls", "veto", "import ssl\nMODE = ssl.CERT_NONE"),
    ("disabled-tls", None, "def f():\n  return httpx.Client(verify=True, timeout=1)"),
    ("new-subprocess", "veto", "import subprocess\nsubprocess.run(['ls'])"),
    ("new-subprocess", "veto", "from os import system as s\ns('ls')"),
    ("new-subprocess", "veto", "import os\ndef f():\n  os.kill(os.getpid(), 1)"),
    ("new-subprocess", None, "import os\nPID = os.getpid()"),
    ("eval", "veto", "def f(x):\n  return eval(x)"),
    ("eval", "veto", "import os\nf = getattr(os, 'sys' + 'tem')"),
    ("eval", "veto", "import os\nboth = [os]"),
    ("eval", "veto", "import pickle\ndef f(x):\n  return pickle.loads(x)"),
    ("eval", "veto", "def f(x):\n  return x.__class__.__subclasses__()"),
    ("eval", None, "import re\nWORD = re.compile('x')"),
    ("eval", None, "def f(record):\n  return getattr(record, 'name', None)"),
    ("new-network", "veto", "import socket\ndef f():\n  return socket.create_connection(('h', 1))"),
    ("new-network", "veto", "def f():\n  return httpx.get('http://127.0.0.1:9/x', timeout=1)"),
    ("new-network", "veto", "import urllib.request\ndef f(u):\n  return urllib.request.urlopen(u)"),
    ("new-network", "warning", "def f(path):\n  return httpx.get(path, timeout=1)"),
    ("new-network", None,
     "import socket\nfrom urllib.parse import quote\ndef f():\n  try:\n    g()\n  except socket.timeout:\n    raise"),
    ("background", "warning", "import threading\nt = threading.Thread(target=print)"),
    ("background", "veto", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)"),
    ("background", None, "import threading\nLOCK = threading.Lock()\n_thread = threading.local()\n_thread.x = 1"),
    ("file-write", "veto", "def f():\n  open('x', 'w').write('y')"),
    ("file-write", "veto", "from pathlib import Path\ndef f():\n  Path('x').unlink()"),
    ("file-write", "veto", "import shutil\ndef f():\n  shutil.rmtree('x')"),
    ("file-write", None, "def f(redis):\n  redis.unlink('key')\n  'a'.replace('a', 'b')"),
    ("reads-outside", "veto", "def f():\n  return open('/proc/self/environ').read()"),
    ("reads-outside", "veto", "from pathlib import Path\nROOT = Path(__file__).parent.parent.parent"),
    ("reads-outside", "veto", "import os\ndef f():\n  return dict(os.environ)"),
    ("reads-outside", "veto", "import os\nkey = os.environ.get('OPENAI_API_KEY')"),
    ("reads-outside", None, "import os\nlevel = os.environ.get('LOG_LEVEL')\nROUTE = '/home'"),
    ("log-forgery", "veto", "def f(n):\n  logger.info(f'{n} passed in 1.2s')"),
    ("log-forgery", "warning", "def f():\n  print('hello')"),
    ("log-forgery", None, "def f():\n  logger.info('5 minutes have passed')"),
    ("removed-log", "veto", "logging.disable(logging.ERROR)"),
    ("removed-log", None, "logger.setLevel(logging.INFO)"),
    ("secret", "veto", "API_KEY = 'a8f5f167f44f4964e6c998dee827110c'"),
    ("secret", None, "TOKEN_KEY = 'payments:token'\nTOKEN = 'token'"),
    ("sleep", "veto", "import time\n@blueprint.get('/slow')\ndef f():\n  time.sleep(5)\n  return g()"),
    ("sleep", "warning", "import time\ndef f(n):\n  time.sleep(0.1 * 2 ** n)"),
    ("sleep", None, "def f(event):\n  event.wait(5)"),
    ("dynamic-time", "warning", "import time\nSTART = time.time()\ndef f():\n  if time.time() - START > 60:\n    g()"),
    ("dynamic-time", "warning", "COUNT = 0\ndef f():\n  global COUNT\n  COUNT += 1\n  if COUNT > 100:\n    g()"),
    ("dynamic-time", None, "import time\ndef f(self):\n  return time.monotonic() - self.opened > 30"),
    ("new-dependency", "veto", "import cachetools"),
    ("new-dependency", None, "import functools\nimport werkzeug.exceptions\nfrom . import worker"),
    ("changed-limit", "warning", "import functools\n@functools.cache\ndef f(x):\n  return x"),
    ("changed-limit", None, "import functools\n@functools.lru_cache(maxsize=128)\ndef f(x):\n  return x"),
    ("removed-route", "veto", "@blueprint.get('/products')\ndef f():\n  return g()"),
    ("removed-route", None, "@blueprint.get('/news')\ndef f():\n  return g()"),
    ("bandit.B602", "veto", "import subprocess\ndef f(x):\n  subprocess.run(x, shell=True)  # nosec"),
    ("bandit.B324", "warning", "import hashlib\ndef f(x):\n  return hashlib.md5(x).hexdigest()"),
    ("bandit.B324", None, "import hashlib\ndef f(x):\n  return hashlib.sha256(x).hexdigest()"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "severity", "code"), WORSE)
def test_added_code(rule: str, severity: Severity | None, code: str) -> None:
    assert worst(added(code), rule) == severity, added(code)


# code that is changed or taken away

CHANGED: list[tuple[str, Severity | None, str, str, str]] = [
    ("removed-route", "veto", "shop/views.py", '@blueprint.get("/products")\n', ""),
    ("removed-route", "veto", "shop/views.py", '["GET", "POST"]', '["GET"]'),
    ("removed-route", "veto", "shop/app.py", "(views, worker)", "(views,)"),
    ("removed-route", "veto", "shop/app.py", "settings.faults_enabled", "False"),
    ("removed-route", None, "shop/app.py", "(views, worker)", "(worker, views, news)"),
    ("removed-route", None, "shop/views.py", "def products():", "def all_products():"),
    ("fault-trigger", "veto", "shop/app.py", "if settings.faults_enabled:", "if settings.faults_enabled and not True:"),
    ("removed-auth", "veto", "shop/views.py", "user_id = current_user_id()", "user_id = 1"),
    ("removed-auth", "veto", "shop/views.py", "        abort(401)", "        pass"),
    ("removed-auth", "warning", "shop/views.py", "if not passwords", "if DOOR and not passwords"),
    ("removed-auth", None, "shop/views.py", "user_id = current_user_id()\n    return {\"orders\": find(user_id)}",
     "return {\"orders\": mine()}\n\n\ndef mine():\n    return find(current_user_id())"),
    ("constant-answer", "veto", "shop/views.py", f"    rows = {QUERY}\n{GET}", "    return {'products': []}"),
    ("constant-answer", "veto", "shop/views.py",
     f"    rows = {QUERY}", f"    if True:\n        return jsonify([])\n    rows = {QUERY}"),
    ("constant-answer", "veto", "shop/views.py", f"    rows = {QUERY}\n{GET}", "    abort(503)"),
    ("constant-answer", None, "shop/views.py",
     GET, "    found = [row.id for row in rows]\n    return {'products': found}"),
    ("constant-answer", None, "shop/views.py", '{"status": "live"}', '{"status": "alive"}'),
    ("removed-log", "veto", "shop/views.py", '        logger.error("not found", extra={"marker": "FAULT_FIND"})\n', ""),
    ("removed-log", None, "shop/views.py", '"not found", extra', '"nothing", exc_info=error, extra'),
    ("metrics", "warning", "shop/views.py", "    FOUND.inc()\n", ""),
    ("metrics", None, "shop/views.py",
     "    FOUND.inc()\n    return found.json()", "    told = found.json()\n    FOUND.inc()\n    return told"),
    ("changed-limit", "veto", "shop/db.py", "pool_size=5", "pool_size=50"),
    ("changed-limit", "veto", "shop/db.py", "max_overflow=2", "max_overflow=-1"),
    ("changed-limit", "veto", "shop/db.py", "statement_timeout=500", "statement_timeout=0"),
    ("changed-limit", "veto", "shop/db.py", "pool_timeout=3", "pool_timeout=None"),
    ("changed-limit", "veto", "shop/views.py", "MAX_ROWS = 100", "MAX_ROWS = 10 * 100"),
    ("changed-limit", "warning", "shop/db.py", "pool_size=5", "pool_size=10"),
    ("changed-limit", "warning", "shop/db.py", "pool_timeout=3, ", ""),
    ("changed-limit", "note", "shop/db.py", "statement_timeout=500", "statement_timeout=250"),
    ("changed-limit", None, "shop/db.py", "pool_size=5, max_overflow=2", "max_overflow=2, pool_size=5"),
    ("unchanged-code", "veto", "shop/views.py", "MAX_ROWS = 100", "MAX_ROWS = 100  # restarted"),
    ("unchanged-code", "veto", "shop/views.py", '"""What the shop sells."""', '"""All that the shop sells."""'),
    ("unchanged-code", None, "shop/views.py", "MAX_ROWS = 100", "MAX_ROWS = 99"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "severity", "path", "old", "new"), CHANGED)
def test_changed_code(rule: str, severity: Severity | None, path: str, old: str, new: str) -> None:
    found = edited(old, new, path)
    assert worst(found, rule) == severity, found


@pytest.mark.parametrize(
    ("rule", "severity", "path", "content"),
    [
        ("changed-tests", "veto", "tests/test_views.py", "def test(): ...\n"),
        ("changed-tests", None, "shop/contest.py", "x = 1\n"),
        ("shadowed-module", "veto", "httpx.py", "x = 1\n"),
        ("shadowed-module", "veto", "sitecustomize.py", "x = 1\n"),
        ("shadowed-module", None, "shop/httpx.py", "x = 1\n"),
        ("unreviewed", "warning", "shop/help.txt", "text\n"),
        ("unreviewed", None, "shop/help.py", "x = 1\n"),
        ("removed-route", "veto", "shop/views.py", None),
    ],
)
def test_files(rule: str, severity: Severity | None, path: str, content: str | None) -> None:
    assert worst(flags({path: content}), rule) == severity


def test_every_rule_has_a_case_that_trips_it_and_a_near_miss() -> None:
    tried = [(rule, severity) for rule, severity, *_ in (*WORSE, *CHANGED)]
    known = {rule for rule in RULES if "*" not in rule} - {
        "changed-tests",
        "shadowed-module",
        "unreviewed",
        "unreadable",
    }
    assert {rule for rule, severity in tried if severity and not rule.startswith("bandit.")} == known
    assert {rule for rule, severity in tried if not severity and not rule.startswith("bandit.")} == known
    assert len(CHECKS) == len(set(CHECKS))


# what must pass

GOOD = {
    "a bounded call": edited(FOUND, 'found = httpx.get(f"/find/{user_id}", timeout=0.5)'),
    "a fallback that is told": edited("        raise\n", '        return {"found": []}\n'),
    "a retry": added(
        """
        import random
        import time

        def patient(call, attempts=3):
            for attempt in range(attempts):
                try:
                    return call()
                except httpx.TransportError:
                    if attempt == attempts - 1:
                        raise
                    time.sleep(0.1 * 2**attempt + random.random() / 10)
        """
    ),
    "a breaker": added(
        """
        import threading
        import time

        class Breaker:
            def __init__(self):
                self._lock, self._failures, self._opened_at = threading.Lock(), 0, None

            def call(self, function):
                with self._lock:
                    if self._opened_at is not None and time.monotonic() - self._opened_at < 30:
                        raise RuntimeError("the circuit is open")
                try:
                    result = function()
                except Exception:
                    with self._lock:
                        self._failures += 1
                        if self._failures >= 3:
                            self._opened_at = time.monotonic()
                    raise
                self._failures, self._opened_at = 0, None
                return result
        """
    ),
    "a bounded cache": added(
        """
        from collections import OrderedDict
        from hashlib import md5

        _KEPT, MAX_KEPT = OrderedDict(), 128

        def kept(name, make):
            key = md5(name.encode()).hexdigest()
            if key not in _KEPT:
                _KEPT[key] = make()
                while len(_KEPT) > MAX_KEPT:
                    _KEPT.popitem(last=False)
            return _KEPT[key]
        """
    ),
    "a bulkhead": added(
        """
        from concurrent.futures import ThreadPoolExecutor
        from threading import BoundedSemaphore

        SLOTS = BoundedSemaphore(4)
        POOL = ThreadPoolExecutor(max_workers=4)

        def limited(call):
            if not SLOTS.acquire(timeout=0.1):
                abort(503)
            try:
                return POOL.submit(call).result(timeout=2)
            finally:
                SLOTS.release()
        """
    ),
    "a statement timeout": added(
        """
        from sqlalchemy import event

        def limit(engine, ms=500):
            @event.listens_for(engine, "connect")
            def set_limit(connection, _record):
                with connection.cursor() as cursor:
                    cursor.execute(f"SET statement_timeout = {ms}")
        """,
        "shop/db.py",
    ),
    "less at once": edited("MAX_ROWS = 100", "MAX_ROWS = 20"),
    "a token that is fetched again": added(
        """
        class Upstream:
            def __init__(self, client):
                self._client, self._token = client, None

            def ask(self, path):
                answer = self._client.get(path, headers={"Authorization": f"Bearer {self._token}"})
                if answer.status_code == 401:
                    self._token = self._client.post("/token").json()["token"]
                    answer = self._client.get(path, headers={"Authorization": f"Bearer {self._token}"})
                answer.raise_for_status()
                return answer
        """
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_honest_fix_gets_no_veto(name: str) -> None:
    assert vetoes(GOOD[name]) == []


def broken(loaded: LoadedScenario) -> SourceTree:
    """The app as it is when the fixer is asked."""
    tree = shipped(loaded.app)
    tree = replace(tree, editable=tuple(loaded.manifest.editable), protected=tuple(loaded.manifest.protected))
    releases = [loaded.path(fault.patch) for fault in loaded.spec.method if isinstance(fault, DefectFault)]
    for patch in [*([loaded.defect] if loaded.defect else []), *releases]:
        tree = patched(tree, patch.read_text(encoding="utf-8"))
    return tree


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_no_reference_patch_gets_a_veto(file: Path) -> None:
    loaded = load_scenario(file)
    if loaded.reference is None:
        assert loaded.spec.metadata.control, "only a control has no reference patch"
        return
    tree = broken(loaded)
    after = patched(tree, loaded.reference.read_text(encoding="utf-8"))
    assert vetoes(review(tree, after)) == []


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_restart_is_deployed_so_that_it_fails_by_what_it_does(file: Path) -> None:
    tree = broken(load_scenario(file))
    fix = RestartFixer().propose(INCIDENT, (), tree, ())
    assert [edit.path for edit in fix.edits] == ["shop/__init__.py"]
    assert vetoes(review(tree, guard.apply(tree, fix))) == []


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_no_fix_of_the_playbook_gets_a_veto(file: Path) -> None:
    tree = broken(load_scenario(file))
    proposed = 0
    for document in load_corpus(ROOT / "kb"):
        fix = PlaybookFixer().propose(INCIDENT, [document.passage(score=1.0)], tree, ())
        if not fix.abstains:
            proposed += 1
            assert vetoes(review(tree, guard.apply(tree, fix))) == [], document.id
    assert proposed, "the playbook knows something to do"


# how it behaves


def test_what_was_there_before_is_not_held_against_a_fix() -> None:
    weak = f"{VIEWS}\n\nimport os\n\ndef f(x):\n  try:\n    eval(x)\n  except Exception:\n    pass\n  os.system(x)\n"
    before = TREE.with_files({**FILES, "shop/views.py": weak})
    moved = weak.replace("\n\ndef f(x):", "\n\n# moved down\n\n\ndef f(x):").replace("MAX_ROWS = 100", "MAX_ROWS = 99")
    assert vetoes(flags({"shop/views.py": moved}, before)) == []
    twice = f"{moved}\n\ndef g(x):\n  os.system(x)\n"
    assert worst(flags({"shop/views.py": twice}, before), "new-subprocess") == "veto"


def test_a_handler_that_stops_telling_is_new() -> None:
    told = f"{VIEWS}\n\ndef f():\n  try:\n    g()\n  except Exception:\n    logger.exception('g')\n    x = 1\n"
    before = TREE.with_files({**FILES, "shop/views.py": told})
    silent = told.replace("    logger.exception('g')\n", "")
    assert worst(flags({"shop/views.py": silent}, before), "swallowed-exception") == "veto"


def test_flags_point_into_the_patched_file_and_come_in_order() -> None:
    found = added("import os\n\n\ndef f():\n    print(1)\n    os.system('x')\n    os.system('x')\n")
    lines = {each.line for each in found if each.rule == "new-subprocess"}
    text = f"{VIEWS}\n\nimport os\n\n\ndef f():\n    print(1)\n    os.system('x')\n    os.system('x')\n"
    assert {text.splitlines()[line - 1].strip() for line in lines} == {"os.system('x')"}
    assert len(lines) == 2
    order = {"veto": 0, "warning": 1, "note": 2}
    ranks = [order[each.severity] for each in found]
    assert ranks == sorted(ranks)
    assert len(set(found)) == len(found)


def test_there_is_a_bound_and_vetoes_come_first() -> None:
    noisy = "\n".join(f"def f{n}():\n    print({n})" for n in range(500))
    found = added(f"{noisy}\n\nimport os\nos.system('x')\n")
    assert len(found) == MAX_FLAGS
    assert found[0].severity == "veto"


def test_no_change_no_flag() -> None:
    assert review(TREE, TREE) == ()


def test_messages_are_one_printable_line() -> None:
    found = added("X = '/proc/\\n\\x1b[31mred'\n")
    assert worst(found, "reads-outside") == "veto"
    assert all(each.message.isprintable() and len(each.message) <= 240 for each in found)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "-" * 150 + "1\n",
        "x = " + "[" * 120 + "]" * 120 + "\n",
        "x = a" + ".b" * 3000 + "\n",
        "x = " + " + ".join(["a"] * 3000) + "\n",
        "x = 0x" + "f" * 20_000 + "\n",
        "def f(:\n",
        "x = '\ud800'\n",
        "\0",
    ],
    ids=["unary", "nested", "chain", "sum", "number", "syntax", "surrogate", "nul"],
)
def test_what_cannot_be_read_is_a_veto(text: str) -> None:
    after = TREE.with_files({**FILES, "shop/views.py": VIEWS + text})
    assert worst(review(TREE, after), "unreadable") == "veto"


@pytest.mark.parametrize(
    "text",
    [
        "A = B\nB = A\ntry:\n    f()\nexcept A:\n    pass\n",
        "def f():\n    g()\ndef g():\n    f()\ntry:\n    f()\nexcept Exception:\n    g()\n",
        "LIMIT = 1e308 * 1e308 / 0 - 10 ** 10 ** 10\ntimeout = float('nan')\nsize = -None\n",
        "match x:\n    case {'a': 1, **rest}:\n        pass\n    case [*_]:\n        pass\n",
        "\ufeffx = 1\n",
        "x = lambda *a, **k: (yield)\nasync def f():\n    async with a as b:\n        return [c async for c in b]\n",
        "try:\n    f()\nexcept* ValueError:\n    pass\n",
        "g(f'{x!r:{y}}' '\\N{EN DASH}'.encode() if 0 else ...)\n@a.get()\n@b.route(*c, **d)\ndef f(a, /, b=1): ...\n",
        "from . import *\nfrom ...... import x\nimport a.b.c as d, e\nglobal_ = setattr(a, *b)\n",
        "",
    ],
)
def test_odd_code_is_read(text: str) -> None:
    compile(text.lstrip("\ufeff"), "x", "exec")
    after = TREE.with_files({**FILES, "shop/odd.py": text})
    assert worst(review(TREE, after), "unreadable") is None
    again = after.with_files({**after.files, "shop/odd.py": f"{text}\n\nLAST = 1\n"})
    assert review(after, again) == (), "a name was added, no more"


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from("abx01 \n\t.,:;()[]{}'\"=+-*/%@#\\_\r\x0c\u2028é"), max_size=60), st.integers(0, len(VIEWS))
)
def test_no_text_makes_it_raise(text: str, place: int) -> None:
    after = TREE.with_files({**FILES, "shop/views.py": VIEWS[:place] + text + VIEWS[place:]})
    for flag in review(TREE, after):
        assert flag.rule in RULES or flag.rule.startswith("bandit.B")


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "text",
    [
        "x = '" + "a" * 150_000 + "'\n",
        "x = a + '" + "select " * 20_000 + "'\n",
        "q = 'a'\n" * 8_000 + "execute(q)\n" * 8_000,
        "".join(f"def a{n}():\n try:\n  a{n + 1}()\n except Exception:\n  a{n + 1}()\n" for n in range(3_000)),
        "a = 1\n" * 8_000 + "try:\n g()\nexcept Exception:\n x\n" + " f(a)\n" * 8_000,
    ],
    ids=["long word", "long statement", "many statements", "long chain", "long handler"],
)
def test_a_file_made_to_take_for_ever_does_not(text: str) -> None:
    assert worst(review(TREE, TREE.with_files({**FILES, "shop/odd.py": text})), "unreadable") is None


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(on: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        trees = [SourceTree(files={"shop/a.py": text}, editable=("shop/**",)) for text in ("a = 1\n", "b = 2\n")]
        review(*trees)
        assert gc.isenabled() is on
    finally:
        (gc.enable if was else gc.disable)()


def test_bandit_leaves_the_process_as_it_was() -> None:
    shown, level = warnings.formatwarning, logging.getLogger().level
    added("import subprocess\nsubprocess.run('x', shell=True)\n")
    assert warnings.formatwarning is shown
    assert logging.getLogger().level == level
