"""A socket whose other holder is hostile never makes this side wait."""

import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator_runtimes.never_blocking import NeverBlockingSocket, NotAConnection


def _folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY)


def _device(_folder: Path) -> int:
    return os.open("/dev/zero", os.O_RDONLY)


def _unconnected(_folder: Path) -> int:
    return socket.socket(socket.AF_UNIX).detach()


def _listening(folder: Path) -> int:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen()
    return listener.detach()


def _udp(_folder: Path) -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()


def _datagrams(_folder: Path) -> int:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.close()
    return one.detach()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_folder, "no socket"),
        (_device, "no socket"),
        (_listening, "listens"),
        (_udp, "no unix stream socket"),
        (_datagrams, "no unix stream socket"),
        (_unconnected, "not connected"),
    ],
    ids=["folder", "device", "listener", "udp", "datagrams", "unconnected"],
)
def test_what_is_no_connection_is_refused_and_closed(
    make: Callable[[Path], int], why: str, tmp_path: Path
) -> None:
    descriptor = make(tmp_path)
    with pytest.raises(NotAConnection, match=why):
        NeverBlockingSocket.take(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_it_does_not_wait_although_the_other_holder_made_it_blocking() -> None:
    given, peer = socket.socketpair()
    with peer, given, NeverBlockingSocket.take(os.dup(given.fileno())) as taken:
        flags = fcntl.fcntl(given, fcntl.F_GETFL)
        assert flags & os.O_NONBLOCK
        fcntl.fcntl(given, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        assert not fcntl.fcntl(taken, fcntl.F_GETFL) & os.O_NONBLOCK, "they share it"
        for receive in (lambda: taken.recv(1), lambda: taken.recv_into(bytearray(1))):
            with pytest.raises(BlockingIOError):
                receive()
        with suppress(BlockingIOError):
            while taken.send(bytes(2**16)):
                continue
        with pytest.raises(BlockingIOError):
            taken.send(bytes(2**16))
        with pytest.raises(BlockingIOError):
            taken.sendmsg([bytes(2**16)])
