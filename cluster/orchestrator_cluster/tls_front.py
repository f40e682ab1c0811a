"""TLS in front of a server that speaks none: `python -m orchestrator_cluster.tls_front … -- COMMAND`.

Dagster's code server and its own web server speak no TLS. Here such a server is started as a child, which listens where
its own container alone reaches it, and what comes from outside passes TLS before it.

    python -m orchestrator_cluster.tls_front --certificate tls.crt --key tls.key --port 4000 --protocol h2 \
        --to unix:/tmp/code-server.sock -- dagster api grpc --socket /tmp/code-server.sock …

The port opens when the child serves. Signals that end go to the child, and its status becomes this process's own.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from orchestrator_gateway.tls_files import BadTlsFile, ServerCertificate
from orchestrator_resources.tls_relays import Place, RelayFailed, connect_to, from_tls

_PERIOD_SECONDS: Final = 0.1
_FAILED: Final = 1
_NOT_FOUND: Final = 127
_SIGNALLED: Final = 128
"""Shells add the number of the signal to it."""


async def serve(
    command: Sequence[str], place: Place, certificate: ServerCertificate, host: str, port: int
) -> int:
    """Serve until the child ends, and return its status.

    How long the child may take to serve is for whoever started this process to say, as it would be without it.

    Args:
        command: Of the child.
        place: Where the child listens.
        certificate: What is shown to whoever connects.
        host: Number of the address to listen at.
        port: Where.

    Raises:
        OSError: There is no such command.
        RelayFailed: The port is taken.
    """
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(*command)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _pass_on, child, number)
    relay = from_tls(certificate, place)
    ended = asyncio.create_task(child.wait())
    try:
        while not ended.done() and not await _serves(place):
            await asyncio.wait([ended], timeout=_PERIOD_SECONDS)
        if not ended.done():
            await relay.open(host, port)
        status = await ended
    finally:
        await relay.close()
        if not ended.done():
            _pass_on(child, signal.SIGTERM)
            await ended
    return status if status >= 0 else _SIGNALLED - status


def _pass_on(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


async def _serves(place: Place) -> bool:
    """Return whether somebody listens."""
    try:
        _, writer = await connect_to(place)
    except OSError:
        return False
    writer.transport.abort()
    return True


def _place(text: str) -> Place:
    """Return what an address says: `unix:/path`, or the port of a server on loopback."""
    kind, _, path = text.partition(":")
    if kind == "unix" and path.startswith("/"):
        return Path(path)
    if text.isdecimal() and 0 < int(text) <= 65_535:
        return "127.0.0.1", int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither unix:/PATH nor a port of loopback")


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="orchestrator_cluster.tls_front", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--certificate", required=True, type=Path, help="certificate to show (PEM)")
    parser.add_argument("--key", required=True, type=Path, help="its key (PEM)")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen at; default all")
    parser.add_argument("--port", required=True, type=int, help="port to listen at")
    parser.add_argument(
        "--protocol", action="append", default=[], help="what the child speaks, as ALPN has it"
    )
    parser.add_argument(
        "--to", required=True, type=_place, help="where the child listens: unix:/PATH or a port"
    )
    parser.add_argument("command", nargs="+", help="of the child, after --")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        certificate = ServerCertificate(options.certificate, options.key, protocols=options.protocol)
        return uvloop.run(serve(options.command, options.to, certificate, options.host, options.port))
    except FileNotFoundError as error:
        print(f"there is no command {options.command[0]!r}: {error.strerror}", file=sys.stderr)
        return _NOT_FOUND
    except (BadTlsFile, RelayFailed, OSError) as error:
        print(error, file=sys.stderr)
        return _FAILED


if __name__ == "__main__":
    sys.exit(main())
