"""What others run for a run: a PostgreSQL server, and a gateway with its journal there; both come back when killed."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import yaml

from tests.integration.postgres_servers import PostgresServer, postgres_server

_SERVES_SECONDS: Final = 60.0
_LEASE_SECONDS: Final = 2.0
"""How long a gateway's calls are its own after its last sign of life; the default would make each trial wait 15 s."""

_PAUSE_SECONDS: Final = 0.05


class Gateway:
    """`orchestrator gateway` in a process of its own, always at the same address.

    Args:
        folder: Gets its files and its log.
        database: URL of its journal.
        upstream: Base URL of the model.
    """

    def __init__(self, folder: Path, database: str, upstream: str) -> None:
        """Start it, and return when it serves."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._database = database
        self.secret_file: Final = folder / "secret"
        self.secret_file.write_text(secrets.token_hex(32))
        self._file = folder / "gateway.yaml"
        told = {
            "secret": {"file": "secret"},
            "journal": {"postgresql": {"env": "JOURNAL"}, "limits": {"lease_seconds": _LEASE_SECONDS}},
            "upstreams": {"witness": {"base_url": upstream}},
            "default": {"upstream": "witness"},
        }
        self._file.write_text(yaml.safe_dump(told))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self._process = self._started()
        self.wait()

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which a run finds it."""
        return {
            "ORCHESTRATOR_GATEWAY_URL": self._url,
            "ORCHESTRATOR_GATEWAY_SECRET_FILE": str(self.secret_file),
        }

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it again where it was."""
        self._process = self._started()

    def wait(self) -> None:
        """Return when it serves."""
        until = time.monotonic() + _SERVES_SECONDS
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the gateway does not serve: {self._log()}")
            time.sleep(_PAUSE_SECONDS)

    def _serves(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._url}/ready", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
        return True

    def _started(self) -> "subprocess.Popen[bytes]":
        program = Path(sys.executable).with_name("orchestrator")
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program, "gateway", "--config", self._file, "--port", str(self._port)],
                env={"PATH": os.environ["PATH"], "JOURNAL": self._database},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-1_000:]


class Services:
    """The server of one worker, which starts with the first trial that needs it, and a gateway for each such trial."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._open = ExitStack()
        self._server: PostgresServer | None = None

    def database(self) -> str:
        """Return the URL of a new database."""
        if self._server is None:
            self._server = self._open.enter_context(postgres_server())
        return self._server.database()

    def kill_database(self) -> None:
        """End every process of the server at once."""
        assert self._server is not None, "no trial has a database"
        self._server.kill()

    def start_database(self) -> None:
        """Start it again, with what was committed."""
        assert self._server is not None, "no trial has a database"
        self._server.start()

    def close(self) -> None:
        """End the server."""
        self._open.close()
