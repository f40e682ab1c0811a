"""Connections that come through a socket: of guests whose network holds nothing but the way here."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

_WAITING: Final = 1_024


class HandedConnections:
    """Serves connections that guardians hand over (`orchestrator_runtimes.closed_networks`).

    Only processes of this user can reach the socket: its folder lets nobody else in.
    """

    def __init__(self, path: Path, serve: Callable[[], asyncio.BaseProtocol]) -> None:
        """Begin to listen at `path`; `serve` makes the protocol of each connection.

        Raises:
            OSError: It cannot listen there.
        """
        self._path, self._serve = path, serve
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of a gateway that was killed: the port is this one's now
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(_WAITING)
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Let nobody else come; those that came are served to their end."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _accept(self) -> None:
        try:
            guardian, _ = self._listener.accept()
        except OSError:
            return
        guardian.setblocking(False)
        self._loop.add_reader(guardian, self._take, guardian)

    def _take(self, guardian: socket.socket) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(guardian, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            descriptors = []
        self._loop.remove_reader(guardian)
        guardian.close()
        for descriptor in descriptors:
            try:
                connection = socket.socket(fileno=descriptor)
            except OSError:
                os.close(descriptor)  # no socket
                continue
            task = self._loop.create_task(self._serve_one(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._serve, connection)
        except (OSError, ValueError):
            connection.close()
