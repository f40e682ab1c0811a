"""The gateway that the runs of this process send their model calls to."""

import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.execution_reports import ExecutionReport, ReportedExecutions
from orchestrator_gateway.fingerprints import ALL_KNOWN, digests_in
from orchestrator_gateway.ledger import EXECUTIONS, Amount, SpentByExecutions
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.tls_files import Authorities
from orchestrator_gateway.tokens import Claims, ExecutionBudget, issue, issue_trusted
from orchestrator_runtimes import closed_networks
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import ModelAddress

START_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 10.0
"""How long it stays for calls that are on their way when its run is gone: their answers wait for the retry."""

TENANT: Final = "local"
"""Whose executions these are, on a machine without tenants."""

_TOKEN_SPARE_SECONDS: Final = 60.0
_KNOWN_WORDS: Final = 200
_ASK_SECONDS: Final = 30.0
_SHOWN: Final = 300
"""Bytes of an answer that errors show."""
_LEAVE_SECONDS: Final = 2.0
"""How long a run waits for its gateway's end; one that is idle needs 0.1 s."""

_END_SECONDS: Final = 5.0
"""How long a process may take to end after its output."""

_STARTS: Final = 5
"""How often it is started for one run: then something is broken rather than unlucky."""

_PASSED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")


def gateway_command() -> list[str]:
    """Return the words that start a gateway, which gets its settings from standard input."""
    return [sys.executable, "-P", "-m", "orchestrator_gateway"]


def gateway_environment() -> dict[str, str]:
    """Return the whole environment of a gateway: what it knows it is told, but for the standard ones of telemetry."""
    return {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("OTEL_")}


class ModelGateway(ABC):
    """A gateway as a run uses it: it issues the tokens of guests, and says which answers are not needed any more.

    Args:
        secret: The gateway's, or the tenant's own of it.
        tenant: Whose the executions are.
        authorities: Who may have signed its certificate; None where it speaks no TLS.
    """

    def __init__(self, secret: bytes, tenant: str, authorities: Authorities | None = None) -> None:
        """Begin with a gateway that nobody has asked yet."""
        self.secret = secret
        self.tenant = tenant
        self._authorities = authorities
        self.clock_ahead = 0.0
        """Seconds that its clock is ahead of this machine's: it judges by its own when a token has expired."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What the next connection of this process to it is made with; None where it speaks no TLS."""
        return None if self._authorities is None else self._authorities.context

    def trusted_token(self) -> str:
        """Return a token of the trusted side for what is the tenant's, which is good for some minutes."""
        return issue_trusted(self.secret, self.tenant, now=time.time() + self.clock_ahead)

    @property
    @abstractmethod
    def address(self) -> str:
        """Its base URL, without `/v1`; empty where it is not known yet."""

    @property
    @abstractmethod
    def watched(self) -> bool:
        """Whether it tells anybody of executions; False until it is ready."""

    @abstractmethod
    def ready(self) -> None:
        """Return when it serves.

        Raises:
            AgentError: `model_unavailable` when it does not.
        """

    @abstractmethod
    def close(self) -> None:
        """Let it go."""

    def model(
        self,
        *,
        execution: str,
        agent: str,
        inputs: Json,
        seconds: float,
        closed: bool = False,
        traceparent: str | None = None,
        run: str | None = None,
        name: str = "",
        location: str = "",
        budget: ExecutionBudget | None = None,
        bundle: str = "",
    ) -> ModelAddress:
        """Return where one try of an execution sends its model calls; only once it is ready.

        Args:
            execution: Id of the execution, the same in each try.
            agent: Digest of the agent.
            inputs: What the agent gets.
            seconds: How long the execution may take.
            closed: Whether the guest's network holds nothing but the way to gateways.
            traceparent: W3C trace context that its calls belong to; None begins a trace with each.
            run: Id of the Dagster run; None outside of any.
            name: Of the agent, as its budget names it; empty where it has none.
            location: The code location that it belongs to; empty where it is not known.
            budget: What the execution may spend in all its tries; None bounds nothing.
            bundle: `publisher/agent:version` that it runs; empty for an agent of one's own.
        """
        until = time.time() + self.clock_ahead + seconds
        words = digests_in(dump(inputs).decode())
        claims = Claims(
            tenant=self.tenant,
            execution=execution,
            attempt=secrets.token_hex(8),
            agent=agent,
            until=until,
            expires=until + _TOKEN_SPARE_SECONDS,
            name=name,
            location=location,
            budget=budget or ExecutionBudget(),
            # of too many to name none may be mistaken for another
            known=tuple(sorted(words)) if len(words) <= _KNOWN_WORDS else (ALL_KNOWN,),
            traceparent=traceparent,
            run=run,
            bundle=bundle,
        )
        address = self.guests_address(closed=closed)
        return ModelAddress(base_url=f"{address}/v1", api_key=issue(self.secret, claims))

    def guests_address(self, *, closed: bool) -> str:
        """Return its base URL as guests know it; see `model`."""
        if not closed:
            return self.address
        port = urllib.parse.urlsplit(self.address).port or 0
        return f"http://{closed_networks.host_of(port)}:{closed_networks.PORT}"

    def forget(self, executions: Sequence[str]) -> None:
        """Drop the answers of executions whose asset is stored.

        Raises:
            AgentError: `state_unavailable` when the journal does not answer.
        """
        self._ask("forget", self._named(executions), "the gateway does not forget answers")

    def report(self, reports: Sequence[ExecutionReport]) -> None:
        """Tell of executions that have ended, `MOST_REPORTS` at most, for its telemetry.

        Raises:
            AgentError: `state_unavailable` when it does not take them.
        """
        told = encode(ReportedExecutions(tenant=self.tenant, executions=tuple(reports)))
        self._ask("executions", told, "the gateway does not take what it is told of executions")

    def spent(self, executions: Sequence[str]) -> SpentByExecutions:
        """Return what executions spent, all their tries together.

        Raises:
            AgentError: `state_unavailable` when the ledger does not answer.
        """
        failed = "the gateway does not tell what was spent"
        found, version = dict[str, Amount](), ""
        for start in range(0, len(executions), EXECUTIONS):
            answer = self._ask("spend", self._named(executions[start : start + EXECUTIONS]), failed)
            try:
                told = decode(SpentByExecutions, parse(answer))
            except (NotJson, InvalidMessage) as error:
                raise AgentError(ErrorCode.STATE_UNAVAILABLE, failed, cause=str(error)) from error
            found.update(told.executions)
            version = told.prices
        return SpentByExecutions(prices=version, executions=found)

    def _named(self, executions: Sequence[str]) -> Mapping[str, Json]:
        return {"tenant": self.tenant, "executions": list(executions)}

    def _ask(self, what: str, question: Mapping[str, Json], failed: str) -> bytes:
        self.ready()
        request = urllib.request.Request(
            f"{self.address}/admin/{what}",
            data=dump(question),
            headers={
                "authorization": f"Bearer {self.trusted_token()}",
                "content-type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_ASK_SECONDS, context=self.tls) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                told = error.read(_SHOWN).decode(errors="replace")
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, failed, cause=f"{error.code}: {told}") from error
        except OSError as error:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, failed, cause=str(error)) from error


class LocalGateway(ModelGateway):
    """A gateway in a process of its own, which ends with this one.

    Args:
        journal: Database of the answers, which several gateways may share: a file, or the URL of a PostgreSQL database.
        upstream: Where calls go; its key stays with the gateway.
        handed_over: Folder of the socket at which it takes connections of guests that can reach nothing else; None
            makes no such socket.
        budgets: What agents, code locations and the tenant may spend.
        prices: File of a table of prices; None uses the one of the gateway's package.
        mcp_servers: MCP servers by name, whose keys stay with the gateway; None means there are none.
        keys: File of the keys of the run's tenant, which seal what the journal keeps; None keeps it as it is.
    """

    def __init__(
        self,
        journal: Path | str,
        upstream: ModelAddress,
        *,
        handed_over: Path | None = None,
        budgets: Sequence[Budget] = (),
        prices: Path | None = None,
        mcp_servers: Mapping[str, McpServer] | None = None,
        keys: Path | None = None,
    ) -> None:
        """Begin to start it; `ready` waits until it serves."""
        super().__init__(secrets.token_bytes(32), TENANT)
        self._settings = {
            "secret": self.secret.hex(),
            "journal": str(journal),
            "upstream": {"base_url": upstream.base_url, "api_key": upstream.api_key},
            "drain_seconds": DRAIN_SECONDS,
            "handed_over": None if handed_over is None else str(handed_over),
            "budgets": [encode(budget) for budget in budgets],
            "prices": None if prices is None else str(prices.absolute()),
            "mcp_servers": {name: encode(server) for name, server in (mcp_servers or {}).items()},
            "keys": None if keys is None else str(keys.absolute()),
        }
        self._told: list[str] = []
        self._starts = 0
        self._watched = False
        self._closed = False
        self._address: str | None = None
        self._process = self._spawned()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while its process lives."""
        return self._process.poll() is None

    @property
    def address(self) -> str:
        """Its base URL; empty until it has started."""
        return self._address or ""

    @property
    def watched(self) -> bool:
        """Whether it tells anybody of executions; False until it has started."""
        return self._watched

    @property
    def starts(self) -> int:
        """How often its process was started: more than before when it was killed and has come back."""
        return self._starts

    def ready(self) -> None:
        """Return when it serves; one that has ended is started again, with what its journal holds.

        Raises:
            AgentError: `model_unavailable` when it does not start; the message holds its last words.
        """
        if self._address is not None and not self.running and self._starts < _STARTS:
            self._again()
        while self._address is None:
            self._address = self._started()
            if self._address is None:
                self._again()

    def close(self) -> None:
        """Let it go; an idle one has ended when this returns, another one when the calls on their way are recorded.

        So nothing writes to the journal's folder any more after a run that left no call behind.
        """
        self._closed = True
        if self._address is None:
            self._process.kill()  # nobody was told where it is: no call can be on its way
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        releasing = threading.Thread(target=self._release, name="gateway", daemon=True)
        releasing.start()
        releasing.join(_LEAVE_SECONDS)

    def _again(self) -> None:
        self._release()
        self._address, self._process = None, self._spawned()

    def _release(self) -> None:
        """Collect the process and what this side holds of it, when it ends before this process does."""
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _spawned(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            gateway_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=gateway_environment(),
            start_new_session=True,
        )
        self._starts += 1
        threading.Thread(
            target=self._read_errors, args=(process,), name="gateway-errors", daemon=True
        ).start()
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which `ready` tells
            process.stdin.write(json.dumps(self._settings) + "\n")
            process.stdin.flush()
        return process

    def _started(self) -> str | None:
        """Return where it serves; None when it was killed before it said so, and may be started again."""
        assert self._process.stdout is not None
        took_too_long = threading.Event()

        def end() -> None:
            took_too_long.set()
            self._process.kill()

        late = threading.Timer(START_SECONDS, end)
        late.start()
        try:
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            late.cancel()
        if not line:
            status = self._ended()
            killed = status == -signal.SIGKILL and not took_too_long.is_set() and not self._closed
            if killed and self._starts < _STARTS:
                return None
            how = f"did not start within {START_SECONDS:.0f} s"
            raise AgentError(
                ErrorCode.MODEL_UNAVAILABLE,
                f"the gateway of model calls {how if took_too_long.is_set() else f'ended at its start: {status}'}",
                cause="\n".join(self._told[-5:]) or None,
            )
        told = json.loads(line)
        self._watched = bool(told["telemetry"])
        return str(told["address"])

    def _ended(self) -> int:
        """Return the exit status of a process that said nothing; minus the number of a signal that ended it."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # it lives and has closed its output
            self._process.wait()
            return 1

    def _read_errors(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        with process.stderr as errors:
            for line in errors:
                self._told = [*self._told[-20:], line.rstrip()]
                sys.stderr.write(line)
