"""How long do the guard and the review of a patch take? ``python -m benchmarks.review``; medians.

The patch rewrites a small app of several files: 2,000 lines, of views, queries, calls of a service and jobs, as a
fixer that answers with whole files would send it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from harness.fixing import guard
from harness.fixing.review import review
from harness.fixing.review.difference import Change
from harness.fixing.review.module import parse
from harness.fixing.review.rules import CHECKS
from harness.fixing.review.weaknesses import weaknesses
from harness.model.fix import Fix, WriteFile
from harness.model.source import SourceTree

FILES = 8
WANTED_S = 0.5
HEAD = '''"""Part {number} of the shop."""

from __future__ import annotations

import logging
import time

import httpx
from flask import Blueprint, request
from sqlalchemy import select, text

from shop.auth import current_user_id
from shop.db import session

logger = logging.getLogger(__name__)
blueprint = Blueprint("part{number}", __name__, url_prefix="/part{number}")
client = httpx.Client(timeout={timeout})
'''
BLOCK = '''

@blueprint.get("/things/{number}/<int:thing_id>")
def thing_{number}(thing_id: int) -> dict[str, object]:
    """One of the things, with what the service says about it."""
    user_id = current_user_id()
    query = select(Thing).where(Thing.id == thing_id, Thing.user_id == user_id)
    found = session().scalar(query.order_by(Thing.id).limit({limit}))
    if found is None:
        raise ApiError(404, "not_found", f"there is no thing {{thing_id}}")
    started = time.monotonic()
    try:
        told = client.get(f"/things/{{thing_id}}", params={{"page": request.args.get("page", "1")}})
        told.raise_for_status()
    except httpx.HTTPError as error:
        logger.warning("thing %s is told without its price: %s", thing_id, error)
        return {{"id": found.id, "name": found.name, "price": None}}
    if time.monotonic() - started > 0.5:
        logger.info("the service was slow")
    rows = session().execute(text("SELECT id, total FROM totals WHERE thing_id = :id"), {{"id": thing_id}}).all()
    totals = {{row.id: row.total for row in rows if row.total is not None}}
    return {{"id": found.id, "name": found.name, "price": told.json()["price"], "totals": totals}}
'''
LINES_A_BLOCK = BLOCK.count("\n")


def tree(lines: int, *, timeout: float, limit: int) -> SourceTree:
    blocks = round(lines / FILES / LINES_A_BLOCK)
    files = {
        f"shop/part{number}.py": HEAD.format(number=number, timeout=timeout)
        + "".join(BLOCK.format(number=each, limit=limit) for each in range(blocks))
        for number in range(FILES)
    }
    files["shop/faults.py"] = (
        'import flask\n\nblueprint = flask.Blueprint("faults", __name__, url_prefix="/test-fault")\n'
    )
    return SourceTree(files=files, editable=("shop/**",), protected=("shop/faults.py",))


def median_s(times: int, call: Callable[[], object]) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description="guard, review and bandit on one patch, medians")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--times", type=int, default=9)
    given = parser.parse_args()
    before = tree(given.lines, timeout=5.0, limit=2)
    wanted = tree(given.lines, timeout=1.0, limit=1).files
    edits = tuple(WriteFile(path=path, content=text) for path, text in wanted.items() if text != before.files[path])
    fix = Fix(root_cause="slow", edits=edits)
    after = guard.apply(before, fix)
    started = time.perf_counter()
    flags = review(before, after)
    first_s = time.perf_counter() - started

    def parsed() -> Change:
        old, new = ({path: parse(path, each.files[path]) for path in wanted} for each in (before, after))
        return Change(old=before, new=after, before=old, after=new, paths=tuple(sorted(wanted)))

    change = parsed()
    own = [check for check in CHECKS if check is not weaknesses]
    guard_s = median_s(given.times, lambda: guard.apply(before, fix))
    parse_s = median_s(given.times, parsed)
    own_s = median_s(given.times, lambda: [list(check(change)) for check in own])
    bandit_s = median_s(given.times, lambda: list(weaknesses(change)))
    both_s = median_s(given.times, lambda: review(before, guard.apply(before, fix)))
    lines = sum(edit.content.count("\n") for edit in edits)
    print(f"a patch of {lines} lines in {len(edits)} files, {len(flags)} flags; the medians of {given.times}")
    print(f"guard              {guard_s:6.3f} s")
    print(f"parse, both trees  {parse_s:6.3f} s")
    print(f"own rules          {own_s:6.3f} s")
    print(f"bandit             {bandit_s:6.3f} s")
    print(f"guard and review   {both_s:6.3f} s (wanted: at most {WANTED_S:g})")
    print(f"the first review   {first_s:6.3f} s, which imports bandit")


if __name__ == "__main__":
    main()
