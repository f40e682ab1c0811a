"""Locks this process, and all that it will start, to one TCP port: Linux only, and no privilege is needed.

For containers, whose network guests share with others of their pod. Two parts of the kernel do it together. Landlock
lets TCP connect to named ports alone, and keeps signals, abstract sockets and tracing inside. A filter of system calls
(seccomp) refuses what Landlock does not look at: sockets of all other kinds, the ways round its look at connect(2), and
new namespaces. Nothing lifts either again.

A port says nothing of the host: that it leads to the gateway alone is for a network policy to see to.

Standard library only and no import of ours: the guardian loads this file by its path. Names from landlock(7),
seccomp(2) and the kernel's headers linux/landlock.h, linux/filter.h, linux/audit.h.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

LEAST_ABI = 4
"""Version of Landlock that knows TCP ports: Linux 6.7."""

SCOPING_ABI = 6
"""Version that keeps signals and abstract sockets inside: Linux 6.12."""

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_NET_PORT = 2
ACCESS_NET_BIND_TCP = 1
ACCESS_NET_CONNECT_TCP = 2
SCOPE_ABSTRACT_UNIX_SOCKET = 1
SCOPE_SIGNAL = 2

LD_WORD, ALU_AND, RETURN = 0x20, 0x54, 0x06
JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_BITS = 0x15, 0x35, 0x45
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
X32_BIT = 0x40000000

MSG_FASTOPEN = 0x20000000
SOCK_TYPE_MASK = 0xF
SOL_TCP, TCP_ULP = 6, 31
CLONE_NEW = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""

AUDIT_ARCH: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SYSTEM_CALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "bpf": 321,
        "clone": 56,
        "clone3": 435,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "io_uring_setup": 425,
        "pidfd_getfd": 438,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "ptrace": 101,
        "sendmmsg": 307,
        "sendmsg": 46,
        "sendto": 44,
        "setns": 308,
        "setsockopt": 54,
        "socket": 41,
        "socketpair": 53,
        "unshare": 272,
    },
    "aarch64": {
        "bpf": 280,
        "clone": 220,
        "clone3": 435,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "io_uring_setup": 425,
        "pidfd_getfd": 438,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "ptrace": 117,
        "sendmmsg": 269,
        "sendmsg": 211,
        "sendto": 206,
        "setns": 268,
        "setsockopt": 208,
        "socket": 198,
        "socketpair": 199,
        "unshare": 97,
    },
}
"""Numbers of the calls that are looked at; asm/unistd_64.h and asm-generic/unistd.h."""

_ABSENT = ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3")
"""Answered as by a kernel that lacks them, so that libraries do without; the flags of clone3 cannot be seen."""

_FORBIDDEN = (
    "bpf",
    "pidfd_getfd",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "setns",
    "unshare",
)

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip when a jump's test holds, the same when it does not, operand."""


class NotLocked(OSError):
    """This system cannot lock a process; the text is one line that says why and what to do."""


def lock(gateway_port: int, own_ports: Sequence[int] = ()) -> None:
    """Leave this process, and what it starts from now on, no network but TCP to some ports.

    Call it while there is one thread. What is open stays open.

    Args:
        gateway_port: The port that may be connected to.
        own_ports: Ports that may be listened on, too: of servers that a guest runs for itself.

    Raises:
        NotLocked: The system does not allow it; some of it may be in force.
    """
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in SYSTEM_CALLS:
        raise _not_locked(f"there is no filter for {sys.platform} on {machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    abi = _syscall(libc, LANDLOCK_CREATE_RULESET, 0, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if abi < LEAST_ABI:
        raise _not_locked(
            f"landlock_create_ruleset fails with {errno.errorcode.get(-abi, -abi)}"
            if abi < 0
            else f"this kernel's Landlock is version {abi} and knows no ports"
        )
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _restrict_ports(libc, abi, gateway_port, own_ports)
    filter_system_calls(libc, program(machine))


def _restrict_ports(libc: ctypes.CDLL, abi: int, gateway_port: int, own_ports: Sequence[int]) -> None:
    scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= SCOPING_ABI else 0
    attributes = struct.pack("=QQQ", 0, ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP, scoped)
    if abi < SCOPING_ABI:
        attributes = attributes[:16]
    words = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = _syscall(libc, LANDLOCK_CREATE_RULESET, ctypes.addressof(words), len(attributes), 0)
    _check(ruleset, "landlock_create_ruleset")
    try:
        both = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP
        for access, port in ((ACCESS_NET_CONNECT_TCP, gateway_port), *((both, port) for port in own_ports)):
            rule = ctypes.create_string_buffer(struct.pack("=QQ", access, port), 16)
            added = _syscall(
                libc, LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_NET_PORT, ctypes.addressof(rule), 0
            )
            _check(added, "landlock_add_rule")
        _check(_syscall(libc, LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def filter_system_calls(libc: ctypes.CDLL, instructions: Sequence[Instruction]) -> None:
    """Put a filter on this process's system calls, once it can have no new privileges.

    Raises:
        NotLocked: The system does not take it.
    """
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    held = ctypes.create_string_buffer(packed, len(packed))
    # struct sock_fprog: a length, and a pointer at its own alignment
    described = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(held)))
    mode = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(described), 0, 0)
    _check(mode, "seccomp")


def program(machine: str) -> list[Instruction]:
    """Return the filter of system calls for `x86_64` or `aarch64`; only the low halves of arguments are looked at.

    The kernel takes no more of them: they are integers, or flags that lie there.
    """
    numbers = SYSTEM_CALLS[machine]
    bodies: dict[str, list[Instruction]] = {
        "socket": _tcp_and_unix_only(),
        "socketpair": _tcp_and_unix_only(),
        "sendto": _without_bits(3, MSG_FASTOPEN, errno.EOPNOTSUPP),  # it would connect without being asked
        "sendmsg": _without_bits(2, MSG_FASTOPEN, errno.EOPNOTSUPP),
        "sendmmsg": _without_bits(3, MSG_FASTOPEN, errno.EOPNOTSUPP),
        "setsockopt": _without_upper_layers(),
        "clone": _without_bits(0, CLONE_NEW, errno.EPERM),
        **{name: [_refuse(errno.ENOSYS)] for name in _ABSENT},
        **{name: [_refuse(errno.EPERM)] for name in _FORBIDDEN},
    }
    made: list[Instruction] = [
        (LD_WORD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        _refuse(errno.ENOSYS),  # another table of numbers, such as of 32 bits
        (LD_WORD, 0, 0, NUMBER_AT),
        (JUMP_GREATER_EQUAL, 0, 1, X32_BIT),
        _refuse(errno.ENOSYS),
    ]
    for name, body in bodies.items():
        made += [(JUMP_EQUAL, 0, len(body), numbers[name]), *body]
    return [*made, _ALLOW]


_ALLOW: Instruction = (RETURN, 0, 0, SECCOMP_RET_ALLOW)


def _refuse(number: int) -> Instruction:
    return (RETURN, 0, 0, SECCOMP_RET_ERRNO | number)


def _argument(index: int) -> Instruction:
    return (LD_WORD, 0, 0, ARGUMENTS_AT + 8 * index)


def _without_bits(index: int, bits: int, number: int) -> list[Instruction]:
    return [_argument(index), (JUMP_BITS, 0, 1, bits), _refuse(number), _ALLOW]


def _without_upper_layers() -> list[Instruction]:
    """Refuse to make another protocol of a TCP socket, which Landlock would no longer know for one (SMC)."""
    return [
        _argument(1),
        (JUMP_EQUAL, 0, 3, SOL_TCP),
        _argument(2),
        (JUMP_EQUAL, 0, 1, TCP_ULP),
        _refuse(errno.ENOPROTOOPT),
        _ALLOW,
    ]


def _tcp_and_unix_only() -> list[Instruction]:
    return [
        _argument(0),
        (JUMP_EQUAL, 8, 0, socket.AF_UNIX),
        (JUMP_EQUAL, 1, 0, socket.AF_INET),
        (JUMP_EQUAL, 0, 7, socket.AF_INET6),
        _argument(1),
        (ALU_AND, 0, 0, SOCK_TYPE_MASK),
        (JUMP_EQUAL, 0, 5, socket.SOCK_STREAM),
        _argument(2),
        (JUMP_EQUAL, 1, 0, 0),
        (JUMP_EQUAL, 0, 3, socket.IPPROTO_TCP),
        _ALLOW,
        _refuse(errno.EAFNOSUPPORT),
        _refuse(errno.EACCES),
        _refuse(errno.EPROTONOSUPPORT),  # MPTCP, which Landlock does not know for TCP
    ]


def _syscall(libc: ctypes.CDLL, number: int, *arguments: int) -> int:
    """Return what a system call returns; an error's number, negative, when it fails."""
    returned: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return returned if returned >= 0 else -ctypes.get_errno()


def _check(returned: int, what: str) -> None:
    if returned < 0:
        number = ctypes.get_errno()
        raise _not_locked(f"{what} fails with {errno.errorcode.get(number, number)}")


def _not_locked(why: str) -> NotLocked:
    return NotLocked(
        f"the network of guests cannot be locked: {why}; it needs Linux 6.7 or later with Landlock (lsm=…,landlock),"
        " and a seccomp profile that lets landlock_create_ruleset pass: run them on such a node, or set network: open"
    )
