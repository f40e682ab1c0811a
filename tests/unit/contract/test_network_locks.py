"""The filter of system calls, run as the kernel runs it, for both kinds of machine."""

import errno
import platform
import socket
import struct
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes import network_locks
from orchestrator_runtimes.network_locks import AUDIT_ARCH, CLONE_NEW, MSG_FASTOPEN, SYSTEM_CALLS, program

MACHINES: Final = sorted(SYSTEM_CALLS)
CLONE_THREAD: Final = 0x3D0F00
"""What glibc starts a thread with."""


def run(machine: str, call: int, arguments: Sequence[int] = (), architecture: int | None = None) -> int:
    """Return the errno that a call gets, 0 when it is let through: classic BPF, the instructions that are used."""
    arch = AUDIT_ARCH[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", call, arch, 0, *[*arguments, *[0] * 6][:6])
    instructions = program(machine)
    accumulator = position = 0
    while True:
        code, when, otherwise, operand = instructions[position]
        position += 1
        match code:
            case network_locks.LD_WORD:
                accumulator = struct.unpack_from("<I", data, operand)[0]
            case network_locks.ALU_AND:
                accumulator &= operand
            case network_locks.JUMP_EQUAL:
                position += when if accumulator == operand else otherwise
            case network_locks.JUMP_GREATER_EQUAL:
                position += when if accumulator >= operand else otherwise
            case network_locks.JUMP_BITS:
                position += when if accumulator & operand else otherwise
            case network_locks.RETURN:
                if operand == network_locks.SECCOMP_RET_ALLOW:
                    return 0
                assert operand & 0xFFFF0000 == network_locks.SECCOMP_RET_ERRNO
                return operand & 0xFFFF
            case _:
                raise AssertionError(f"no instruction {code:#x}")


def called(machine: str, name: str, *arguments: int) -> int:
    return run(machine, SYSTEM_CALLS[machine][name], arguments)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flags", [0, socket.SOCK_CLOEXEC, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK])
@pytest.mark.parametrize("name", ["socket", "socketpair"])
def test_sockets_are_tcp_or_unix(machine: str, flags: int, name: str) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        assert called(machine, name, socket.AF_UNIX, kind | flags) == 0
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (0, socket.IPPROTO_TCP):
            assert called(machine, name, family, socket.SOCK_STREAM | flags, protocol) == 0
        for protocol in (132, 262):  # SCTP, MPTCP
            assert (
                called(machine, name, family, socket.SOCK_STREAM | flags, protocol) == errno.EPROTONOSUPPORT
            )
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            assert called(machine, name, family, kind | flags) == errno.EACCES


@pytest.mark.parametrize("machine", MACHINES)
@given(family=st.integers(0, 2**32 - 1), kind=st.integers(0, 2**32 - 1), high=st.integers(0, 2**32 - 1))
def test_no_other_family_gets_in_whatever_stands_above_its_32_bits(
    machine: str, family: int, kind: int, high: int
) -> None:
    allowed = called(machine, "socket", high << 32 | family, high << 32 | kind) == 0
    tcp = family in {socket.AF_INET, socket.AF_INET6} and kind & 0xF == socket.SOCK_STREAM
    assert allowed == (family == socket.AF_UNIX or tcp)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "place"), [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)])
def test_nothing_is_sent_that_would_connect_on_its_way(machine: str, name: str, place: int) -> None:
    def flags(value: int) -> list[int]:
        return [2**64 - 1] * place + [value]

    assert called(machine, name, *flags(socket.MSG_NOSIGNAL)) == 0
    assert called(machine, name, *flags(MSG_FASTOPEN | socket.MSG_NOSIGNAL)) == errno.EOPNOTSUPP


@pytest.mark.parametrize("machine", MACHINES)
def test_a_tcp_socket_stays_one(machine: str) -> None:
    tcp, upper_layer = socket.IPPROTO_TCP, 31
    assert called(machine, "setsockopt", 3, tcp, upper_layer) == errno.ENOPROTOOPT
    assert called(machine, "setsockopt", 3, tcp, socket.TCP_NODELAY) == 0
    assert called(machine, "setsockopt", 3, socket.SOL_SOCKET, upper_layer) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_children_start_and_namespaces_do_not(machine: str) -> None:
    assert called(machine, "clone", CLONE_THREAD) == 0
    assert called(machine, "clone", 17) == 0  # fork: the signal of a child's end
    for bit in range(32):
        if CLONE_NEW >> bit & 1:
            assert called(machine, "clone", CLONE_THREAD | 1 << bit) == errno.EPERM
    assert called(machine, "clone3") == errno.ENOSYS
    for name in ("unshare", "setns", "ptrace", "process_vm_readv", "process_vm_writev", "bpf", "pidfd_getfd"):
        assert called(machine, name) == errno.EPERM
    for name in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        assert called(machine, name) == errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_other_tables_of_numbers_are_not_there(machine: str) -> None:
    other = next(arch for name, arch in AUDIT_ARCH.items() if name != machine)
    for arch in (other, 0x40000003, 0x40000028):  # of the other machine, of 32 bits
        assert run(machine, 1, architecture=arch) == errno.ENOSYS
    assert run(machine, network_locks.X32_BIT | SYSTEM_CALLS[machine]["socket"]) == errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@given(call=st.integers(0, 600))
def test_what_is_not_looked_at_passes(machine: str, call: int) -> None:
    assert call in SYSTEM_CALLS[machine].values() or run(machine, call, [2**64 - 1] * 6) == 0


def test_a_machine_whose_numbers_are_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    uname = platform.uname()
    monkeypatch.setattr("os.uname", lambda: uname._replace(machine="riscv64"))
    with pytest.raises(network_locks.NotLocked, match="there is no filter for linux on riscv64"):
        network_locks.lock(8900)
