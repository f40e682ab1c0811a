"""A gateway that runs by itself, for many runs and machines: configured by a file, ended by a signal."""

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import uvloop

from orchestrator_gateway.assembly import Parts, serving
from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.reloading import Reloading
from orchestrator_gateway.resolution import resolve
from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_gateway.telemetry import TelemetryUnavailable
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_gateway.tls_files import BadTlsFile, ServerCertificate, certificate_of

LOG: Final = logging.getLogger("orchestrator_gateway")


async def serve(
    file: Path,
    host: str,
    port: int,
    drain_seconds: float,
    certificate: ServerCertificate | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and then until the calls that are on their way are recorded.

    Args:
        file: The configuration file; it is read again when it changes, and on SIGHUP.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        drain_seconds: How long it stays at the end for calls that are on their way.
        certificate: What it shows; None speaks no TLS.

    Raises:
        BadConfiguration: The file cannot be used.
        JournalUnavailable: The journal cannot be opened.
        OSError: The address cannot be listened at.
        TelemetryUnavailable: What the file says of telemetry cannot be had; a change of it needs a new start.
    """
    _log_to_standard_error()
    _allow_many_files()
    resolved = resolve(file)
    parts = Parts(
        secret=resolved.secret,
        journal=resolved.journal,
        routing=resolved.routing,
        budgets=resolved.configuration.budgets,
        prices=resolved.prices,
        host=host,
        port=port,
        certificate=certificate,
        drain_seconds=drain_seconds,
        limits=resolved.configuration.journal.limits,
        keys=None if resolved.tenant_keys is None else KeyFile(resolved.tenant_keys),
        telemetry=resolved.configuration.telemetry,
    )
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    async with serving(parts) as started:
        gateway = started.gateway
        gateway.use(resolved)
        reloading = Reloading(file, resolved, gateway.use)
        loop.add_signal_handler(signal.SIGHUP, reloading.look)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ending.set)
        watching = asyncio.create_task(reloading.watch())
        LOG.info("%s: serving at %s", file, started.address)
        await ending.wait()
        LOG.info("ending: calls on their way have %.0f s", drain_seconds)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def run(
    file: Path,
    host: str,
    port: int,
    drain_seconds: float,
    certificate: ServerCertificate | None = None,
) -> None:
    """Do `serve`, for who has no loop."""
    uvloop.run(serve(file, host, port, drain_seconds, certificate))


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)


def _allow_many_files() -> None:
    """Allow as many connections as the system lets this process have: many systems begin with 1,024 open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Run `python -m orchestrator_gateway.service`, which needs no command line of Dagster's, and return its status."""
    parser = argparse.ArgumentParser(prog="orchestrator_gateway.service", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="configuration file (YAML)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default 127.0.0.1")
    parser.add_argument("--port", default=8900, type=int, help="default 8900")
    parser.add_argument("--drain-seconds", default=60.0, type=float, help="for calls on their way at the end")
    parser.add_argument("--tls-certificate", type=Path, help="certificate to show (PEM); default no TLS")
    parser.add_argument("--tls-key", type=Path, help="its key (PEM); both are read again when they change")
    options = parser.parse_args()
    try:
        certificate = certificate_of(options.tls_certificate, options.tls_key)
        run(options.config, options.host, options.port, options.drain_seconds, certificate)
    except (BadConfiguration, BadTlsFile, JournalUnavailable, TelemetryUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
