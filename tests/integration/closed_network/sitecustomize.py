"""Loaded by every Python process of a guest: notes whom it calls and where it writes, as lines of JSON."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final, cast

_NOTES: Final = os.open(os.environ["CLOSED_NETWORK_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
_OWN: Final = os.path.realpath(os.environ["HOME"] + "/..")
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _note(kind: str, what: object) -> None:
    os.write(_NOTES, json.dumps([kind, str(what)]).encode() + b"\n")


def _is_loopback(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return name in (None, "", "localhost", "::1") or str(name).startswith("127.")


def _is_own(path: Any) -> bool:
    if isinstance(path, int):
        return True  # a descriptor that is open already
    place = os.path.realpath(os.fsdecode(path))
    if place.startswith((_OWN + os.sep, "/dev/")) or place == _OWN:
        return True
    # byte code of what is imported: the environment is as its lock says, with or without it
    return "__pycache__" in Path(place).parts


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = cast("tuple[object, ...] | str | bytes", arguments[1])
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            _note("called", address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        if not _is_loopback(arguments[0]):
            _note("asked for", arguments[0])
    elif event == "open":
        path, mode, flags = arguments
        writes = flags & _WRITES if isinstance(flags, int) else set(mode or "r") & set("wax+")
        if writes and not _is_own(path):
            _note("wrote", path)
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.link", "os.symlink", "sqlite3.connect"):
        for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
            if not (event == "sqlite3.connect" and str(path) in (":memory:", "")) and not _is_own(path):
                _note(event, path)


sys.addaudithook(_watch)
_note("began", os.getpid())
