"""`make up`: the Dagster web UI and daemon over the example, until Ctrl-C or SIGTERM; then nothing is left running."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from orchestrator_tools.instances import EXAMPLE, instance_environment, prepare_instance
from orchestrator_tools.steps import BIN, say

READY_SECONDS: Final = 120.0
"""Time to the first page; a few seconds are usual, an environment without byte code takes half a minute."""
STOP_SECONDS: Final = 30.0

_HOST: Final = "127.0.0.1"


class StopRequested(BaseException):
    """A signal asked to end the services; not an error."""


def _request_stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise StopRequested


def _default_signals() -> None:
    """Undo an ignored SIGINT, which background shells hand down: Dagster would then ignore SIGTERM as well."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def start(
    port: int, *, project: Path = EXAMPLE, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start web UI, daemon and code location in a process group of their own.

    Args:
        port: Of the web UI, on this machine.
        project: Folder of the code location.
        environment: Of all three, whole; None means this checkout's instance.
    """
    return subprocess.Popen(
        [str(BIN / "dg"), "dev", "--host", _HOST, "--port", str(port)],
        cwd=project,
        env=instance_environment() if environment is None else environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_default_signals,  # noqa: PLW1509 - no thread runs here yet
    )


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait for the first page; False when the process ended or the time is over."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with (
            suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/server_info", timeout=5),
        ):
            return True
        time.sleep(0.5)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: SIGINT, after `STOP_SECONDS` SIGTERM, then SIGKILL for what is left."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.services", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of the web UI on this machine")
    port = parser.parse_args().port
    url = f"http://{_HOST}:{port}"
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            say(f"port {port} is in use: choose another with `make up PORT={port + 1}`")
            return 2
    prepare_instance()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    say("starting the web UI and the daemon")
    process = start(port)
    try:
        if not wait_until_ready(process, url):
            say("Dagster did not start: its output is above")
            return 1
        say(f"\nweb UI: {url}  (Ctrl-C ends it)\n")
        return process.wait()
    except StopRequested:
        say("\nstopping")
        return 0
    finally:
        stop(process)


if __name__ == "__main__":
    sys.exit(main())
