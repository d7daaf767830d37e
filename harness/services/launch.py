"""Takes rights from itself and becomes another program: the last step before code that nobody trusts.

Runs as ``python -I -S launch.py RIGHTS PROGRAM ARGUMENT...``, on the standard library alone: inside a sandbox nothing
else of this package is there. RIGHTS is a JSON object, see `Rights`. In turn: resource limits, Landlock
(https://docs.kernel.org/userspace-api/landlock.html), a seccomp filter, the user, and no way to get any of it back.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence
from typing import TypedDict

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1  # as a flag of the first: tell the ABI
_BENEATH, _PORT = 1, 2
_CONNECT_TCP = 1 << 1
_SCOPES = 0b11  # abstract Unix sockets and signals, of processes outside
_READ = 0b1101  # execute, read files, read folders
_OF_FILES = 0b1100_0000_0000_0111  # execute, write, read, truncate, ioctl of devices
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights on files each knows; 16 from 5 on
NETWORK_ABI, SCOPE_ABI = 4, 6

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER, _DROP_CAPABILITY = 38, 22, 2, 24
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_LOAD, _EQUAL, _ANY_BIT, _MASK, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_FAST_OPEN = 0x20000000
# audit's name of the architecture, and the numbers of socket, sendto, sendmsg, sendmmsg, io_uring_setup
_MACHINES = {"x86_64": (0xC000003E, 41, 44, 46, 307, 425), "aarch64": (0xC00000B7, 198, 206, 211, 269, 425)}
_X32 = 0x40000000  # system calls of x86-64's other ABI have this bit

_libc = ctypes.CDLL(None, use_errno=True)


class Rights(TypedDict):
    """What is left to the program. None: as much as we have."""

    uid: int | None  # the user and the group of the same number; there is no other group
    limits: dict[str, int]  # as `resource` calls them, without RLIMIT_
    read: list[str] | None  # files and folders that it may read and execute
    write: list[str]  # where it may do as it likes; heeded where ``read`` is given
    connect: list[int] | None  # TCP ports that it may connect to


def landlock_abi() -> int:
    """What the kernel offers; 0: nothing."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION)))


def can_filter() -> bool:
    """Whether `_allow_tcp_only` knows this machine."""
    return platform.machine() in _MACHINES


def main(rights: Rights, command: Sequence[str]) -> None:
    """Does not return. OSError when a right can't be given up."""
    for name, limit in rights["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))
    _must(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    _restrict(landlock_abi(), rights)
    if rights["connect"] is not None and can_filter():
        _allow_tcp_only()
    if os.geteuid() == 0:
        capability = 0  # up to the last that the kernel knows: what we execute has none, also where it has to stay root
        while _libc.prctl(_DROP_CAPABILITY, capability, 0, 0, 0) == 0:
            capability += 1
    if (uid := rights["uid"]) is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.execvp(command[0], list(command))  # noqa: S606 - no shell is what is wanted


def _restrict(abi: int, rights: Rights) -> None:
    """Landlock, as far as the kernel has it."""
    files = (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1 if rights["read"] is not None else 0
    network = _CONNECT_TCP if rights["connect"] is not None and abi >= NETWORK_ABI else 0
    scopes = _SCOPES if abi >= SCOPE_ABI else 0
    if not abi or not (files or network or scopes):
        return
    size = 8 if abi < NETWORK_ABI else 16 if abi < SCOPE_ABI else 24
    attributes = struct.pack("=QQQ", files, network, scopes)[:size]
    ruleset = _must(_libc.syscall(_CREATE_RULESET, attributes, size, 0), "Landlock")
    if files:
        for paths, access in ((rights["read"] or [], _READ), (rights["write"], files)):
            for path in paths:
                _allow_path(ruleset, path, access & files)
    if network:
        for port in rights["connect"] or []:
            rule = struct.pack("=QQ", network, port)
            _must(_libc.syscall(_ADD_RULE, ruleset, _PORT, rule, 0), f"Landlock: port {port}")
    _must(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def _allow_path(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there needs no leave
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib takes longer to import than all of this takes to run
        access &= _OF_FILES
    _must(_libc.syscall(_ADD_RULE, ruleset, _BENEATH, struct.pack("=Qi", access, place), 0), f"Landlock: {path}")
    os.close(place)


def _allow_tcp_only() -> None:
    """Landlock sees connect() of TCP alone: refuse other sockets of the network, and data sent by the opening packet.

    A classic BPF program over struct seccomp_data: number, architecture, then six arguments of 8 bytes (the low half
    first, on both machines).
    """
    arch, socket, sendto, sendmsg, sendmmsg, uring = _MACHINES[platform.machine()]
    argument = [16 + 8 * number for number in range(6)]
    refuse, allow = (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)

    def call(number: int, *body: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
        return [(_LOAD, 0, 0, 0), (_EQUAL, 0, len(body), number), *body]

    def flags_at(position: int) -> list[tuple[int, int, int, int]]:
        return [(_LOAD, 0, 0, argument[position]), (_ANY_BIT, 0, 1, _FAST_OPEN), refuse, allow]

    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, arch),
        refuse,  # another ABI's numbers mean other calls
        *([(_LOAD, 0, 0, 0), (_ANY_BIT, 0, 1, _X32), refuse] if platform.machine() == "x86_64" else []),
        *call(uring, refuse),  # it opens sockets past this filter
        *call(sendto, *flags_at(3)),
        *call(sendmsg, *flags_at(2)),
        *call(sendmmsg, *flags_at(3)),
        *call(
            socket,
            (_LOAD, 0, 0, argument[0]),
            (_EQUAL, 0, 1, 1),  # AF_UNIX
            allow,
            (_EQUAL, 0, 1, 16),  # AF_NETLINK: how the C library asks for addresses
            allow,
            (_EQUAL, 2, 0, 2),  # AF_INET
            (_EQUAL, 1, 0, 10),  # AF_INET6
            refuse,
            (_LOAD, 0, 0, argument[1]),
            (_MASK, 0, 0, 0xF),
            (_EQUAL, 1, 0, 1),  # SOCK_STREAM
            refuse,
            (_LOAD, 0, 0, argument[2]),
            (_EQUAL, 2, 0, 0),  # the usual protocol, which is
            (_EQUAL, 1, 0, 6),  # TCP
            refuse,
        ),
        allow,
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _must(_libc.prctl(_SECCOMP, _FILTER, fprog, 0, 0), "seccomp")


def _must(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
