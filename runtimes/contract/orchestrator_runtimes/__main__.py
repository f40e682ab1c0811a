"""Start a guest: `python -m orchestrator_runtimes --adapter module:Class --listen unix:PATH --folder DIR`."""

import argparse
import asyncio
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final

from orchestrator_runtimes import console
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.messages import MESSAGE_BYTES
from orchestrator_runtimes.worker import Worker, make_adapter

_BLOCKED_SECONDS: Final = 10.0


def listen(address: str) -> socket.socket:
    """Return a listening socket for `unix:PATH` or `tcp:127.0.0.1:PORT`; only this machine can reach it.

    Raises:
        ValueError: The address has neither form, or is not the loopback's.
    """
    kind, _, place = address.partition(":")
    if kind == "unix" and place:
        server = socket.socket(socket.AF_UNIX)
        server.bind(place)
        os.chmod(place, 0o600)
    elif kind == "tcp" and place.rpartition(":")[0] == "127.0.0.1":
        server = socket.socket(socket.AF_INET)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(place.rpartition(":")[2])))
    else:
        raise ValueError(f"cannot listen on {address!r}: use unix:PATH or tcp:127.0.0.1:PORT")
    server.listen()
    return server


async def serve(adapter_name: str, server: socket.socket, folder: Path, max_executions: int) -> None:
    """Serve the contract on `server` until a signal or `shutdown` ends it."""
    worker = Worker(make_adapter(adapter_name), folder=folder, max_executions=max_executions)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    start = asyncio.start_unix_server if server.family == socket.AF_UNIX else asyncio.start_server
    guard_forks()
    _watch(loop)
    await worker.serve(await start(worker.accept, sock=server, limit=MESSAGE_BYTES))


def guard_forks() -> None:
    """Take this process's sockets and event queue away from every child that the agent's code forks.

    A forked child that goes on with the loop would answer requests and change the parent's event queue.
    """

    def disarm() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for entry in os.listdir("/proc/self/fd") if sys.platform == "linux" else []:
            try:
                target = os.readlink(f"/proc/self/fd/{entry}")
                if target.startswith("socket:") or "eventpoll" in target:
                    os.dup2(null, int(entry))
            except OSError:
                continue  # the listing's own descriptor
        os.close(null)

    os.register_at_fork(after_in_child=disarm)


def _watch(loop: asyncio.AbstractEventLoop) -> None:
    """Tell on standard error which code blocks the loop, since every other execution waits for it."""
    beat = time.monotonic()

    def note() -> None:
        nonlocal beat
        beat = time.monotonic()

    def watch() -> None:
        told = 0.0
        while not loop.is_closed():
            time.sleep(1)
            blocked = time.monotonic() - beat
            if blocked > _BLOCKED_SECONDS and told != beat:
                told = beat
                print(
                    f"the event loop is blocked for {blocked:.0f} s by this code:",
                    file=sys.__stderr__,
                    flush=True,
                )
                if sys.__stderr__ is not None:
                    faulthandler.dump_traceback(sys.__stderr__)
            try:
                loop.call_soon_threadsafe(note)
            except RuntimeError:
                return  # closed meanwhile

    threading.Thread(target=watch, name="loop-watch", daemon=True).start()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="orchestrator_runtimes", description=__doc__)
    parser.add_argument("--adapter", required=True, help="the framework's adapter, module:Class")
    parser.add_argument("--listen", required=True, help="unix:PATH or tcp:127.0.0.1:PORT")
    parser.add_argument("--folder", required=True, type=Path, help="the only folder the guest writes to")
    parser.add_argument("--max-executions", type=int, default=200, help="executions at once; default 200")
    options = parser.parse_args()
    server = listen(options.listen)
    console.capture()
    try:  # no asyncio.run: it would wait for threads that the agent's code left behind
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(options.adapter, server, options.folder, options.max_executions))
    except AgentError as error:
        print(error, file=sys.__stderr__, flush=True)
        leave(3)
    leave(0)


def leave(status: int) -> None:
    """End the process without waiting for threads that the agent's code left behind."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
