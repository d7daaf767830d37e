"""Keeps some users of this machine off the network, all but the loopback interface: nftables, as root.

A table of its own for each user, so that removing it touches nobody else's rules.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.errors import ServiceUnavailable
from harness.services.users import is_lent

_TIMEOUT_S = 10.0
_PREFIX = "creamandonion_"
# added before it is deleted, so that what a killed trial has left is no error
_RULES = """\
table inet {table}
delete table inet {table}
table inet {table} {{
  chain output {{
    type filter hook output priority 0;
    meta skuid {uid} ip daddr 127.0.0.0/8 accept
    meta skuid {uid} ip6 daddr ::1 accept
    meta skuid {uid} reject with icmpx admin-prohibited
  }}
}}
"""


def works() -> bool:
    """Whether nftables is here, and the kernel heeds it."""
    with contextlib.suppress(ServiceUnavailable):
        _nft("--check", "-f", "-", rules=_RULES.format(table=f"{_PREFIX}probe", uid=0))
        return True
    return False


@contextmanager
def loopback_only(uids: Iterable[int]) -> Iterator[None]:
    """These users reach 127.0.0.0/8 and ::1 and nothing else, by any protocol. ServiceUnavailable."""
    tables = {f"{_PREFIX}{uid}": uid for uid in uids}
    _clear_left_over()
    try:
        _nft("-f", "-", rules="".join(_RULES.format(table=table, uid=uid) for table, uid in tables.items()))
        yield
    finally:
        for table in tables:
            with contextlib.suppress(ServiceUnavailable):  # it does no harm, and goes with the next trial
                _nft("delete", "table", "inet", table)


def _clear_left_over() -> None:
    """Tables of trials that were killed."""
    for uid in re.findall(rf"^table inet {_PREFIX}(\d+)$", _nft("list", "tables"), re.MULTILINE):
        if not is_lent(int(uid)):
            with contextlib.suppress(ServiceUnavailable):  # another trial was faster
                _nft("delete", "table", "inet", f"{_PREFIX}{uid}")


def _nft(*arguments: str, rules: str = "") -> str:
    try:
        program = shutil.which("nft") or "/usr/sbin/nft"  # which is not on every root's PATH
        done = subprocess.run([program, *arguments], input=rules, capture_output=True, text=True, timeout=_TIMEOUT_S)
        done.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        said = done.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        raise ServiceUnavailable(f"nftables: {error} {said}", cure="apt-get install nftables, as root") from error
    return done.stdout
