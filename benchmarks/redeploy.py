"""Does a redeploy lose a request? ``python -m benchmarks.redeploy`` from the checkout's root.

The shop under 60 requests a second, open loop; unchanged code is redeployed (branch, canary, merge, HUP) again and
again until at least 1,000 requests are sent. Prints requests sent, failed and dropped, and seconds a redeploy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.shop import shop
from harness.errors import FixRefused

REQUESTS = 1000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, shop(Path(folder), rate=60) as (target, traffic):
        sent, seconds = 0, []
        while sent < REQUESTS:
            tree = target.source()
            touched = tree.with_files({**tree.files, "shop/wsgi.py": tree.files["shop/wsgi.py"] + "\n"})
            try:
                seconds.append(target.redeploy(touched, "Unchanged but for an empty line").seconds)
            except FixRefused as error:
                raise SystemExit(f"the canary failed: {error}") from None
            for _ in range(5):
                while traffic.observe(2.0) is None:
                    pass
            sent = sum(window.arrivals for window in traffic.settled())
        routes = [route for window in traffic.settled() for route in window.routes.values()]
    failed, dropped = sum(route.failed for route in routes), sum(route.dropped for route in routes)
    worst = max((route.p99_ms or 0.0) for route in routes)
    print(f"{len(seconds)} redeploys under 60 rps, {min(seconds):.1f} to {max(seconds):.1f} s each")
    print(f"{sent} requests: {failed} failed, {dropped} dropped; slowest window's p99 {worst:.0f} ms")


if __name__ == "__main__":
    main()
