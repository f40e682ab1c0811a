"""`orchestrator gateway` in a process of its own, as an operator starts it."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator_gateway.tokens import issue_trusted
from orchestrator_resources.external_gateway import ExternalGateway, GatewayAddress
from orchestrator_runtimes.messages import ModelAddress
from tests.integration.command_lines import BIN
from tests.integration.gateway_calls import Answered, send
from tests.integration.processes import wait_until

_ADDRESS = re.compile(r"serving at (\S+)")


class GatewayService:
    """A gateway that serves what its file says.

    Args:
        folder: Gets the file and the journal.
        configuration: The sections of the file, but for the secret and the journal.
        drain_seconds: How long calls on their way have at the end.
        journal: Another place for the journal.
        environment: Variables beside those of this process.
        options: Further words of its command line.
    """

    def __init__(
        self,
        folder: Path,
        configuration: Mapping[str, Any],
        *,
        drain_seconds: float = 10,
        journal: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Start it; `serving` waits until it serves."""
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "gateway.yaml"
        self._journal = journal or {"sqlite": "journal.db"}
        self.secret_file = folder / "secret"
        if not self.secret_file.exists():
            self.secret_file.write_text(secrets.token_hex(32))
        self.configure(configuration)
        self.log = ""
        words = ["gateway", "--config", str(self.file), "--port", "0", "--drain-seconds", str(drain_seconds)]
        words += options
        self.process = subprocess.Popen(
            [str(BIN / "orchestrator"), *words],
            cwd="/",
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write another file, in one piece, as an operator or Kubernetes does."""
        whole = {"secret": {"file": "secret"}, "journal": self._journal, **configuration}
        self.write(json.dumps(whole))

    def write(self, text: str) -> None:
        """Write any file."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    @property
    def address(self) -> str:
        """Its base URL; waits until it serves."""
        wait_until(
            lambda: bool(_ADDRESS.search(self.log)) or self.process.poll() is not None, "the gateway serves"
        )
        found = _ADDRESS.search(self.log)
        assert found is not None, self.log
        return found[1]

    def gateway(self, tenant: str = "local") -> ExternalGateway:
        """Return it as a run of a tenant uses it."""
        secret = self.secret_file.read_text()
        return ExternalGateway(GatewayAddress(url=self.address, secret=secret, tenant=tenant))

    def model(
        self,
        *,
        execution: str = "e",
        agent: str = "a",
        tenant: str = "local",
        inputs: Any = "hi",
        seconds: float = 60,
    ) -> ModelAddress:
        """Return where one try of an execution sends its calls."""
        gateway = self.gateway(tenant)
        return gateway.model(execution=execution, agent=agent, inputs=inputs, seconds=seconds)

    def administer(self, path: str) -> Any:
        """Return what it tells the trusted side."""
        token = issue_trusted(self.secret_file.read_text().encode())
        answer = send(
            ModelAddress(base_url=self.address, api_key=token), b"", path=f"/admin/{path}", method="GET"
        )
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def get(self, path: str) -> Answered:
        """Return what it tells anybody."""
        return send(ModelAddress(base_url=self.address), b"", path=path, method="GET")

    def logged(self, words: str) -> None:
        """Wait until its log says something."""
        wait_until(lambda: words in self.log, f"the log says {words!r}; it says {self.log[-2_000:]}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end, and return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        status = self.process.wait(60)
        self._reading.join(10)
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as errors:
            for line in errors:
                self.log += line


@contextlib.contextmanager
def gateway_service(folder: Path, configuration: Mapping[str, Any], **more: Any) -> Generator[GatewayService]:
    """Run a gateway for a block; it must end in order."""
    service = GatewayService(folder, configuration, **more)
    try:
        assert service.address
        yield service
    finally:
        if service.process.poll() is None:
            assert service.end() == 0, service.log
