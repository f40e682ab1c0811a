"""A gateway that others run: this process only knows its address and its secret."""

import asyncio
import email.utils
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from orchestrator_gateway.tls_files import Authorities, BadTlsFile
from orchestrator_resources.gateway import TENANT, ModelGateway
from orchestrator_resources.gateway_numbers import GatewayNumber
from orchestrator_resources.gateway_urls import BadGatewayUrl, GatewayUrl
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord

LEAST_SECRET_CHARACTERS: Final = 32
READY_SECONDS: Final = 30.0
"""How long a run waits for a gateway that is about to start or to be replaced."""

CA_FILE: Final = "ORCHESTRATOR_GATEWAY_CA_FILE"
"""Variable that names the file of `GatewayAddress.ca_file`."""
GUESTS_URL: Final = "ORCHESTRATOR_GUESTS_GATEWAY_URL"
"""Variable of `GatewayAddress.guests_url`."""

_PAUSE_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 5.0
_STEP_SECONDS: Final = aiohttp.ClientTimeout(total=30.0)
_SECOND: Final = 1.0
"""The grain of a `Date` header."""
_SHOWN: Final = 300
_LONGEST_ANSWER: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class GatewayAddress:
    """Where a gateway is.

    Attributes:
        url: Its base URL, without `/v1`.
        secret: What it signs tokens with; guests never see it.
        tenant: Whose the executions of this process are.
        ca_file: Certificates of who may have signed its own, PEM; None trusts those of the system.
        guests_url: Where guests find it by another way, such as a relay beside them; None where by the same.
    """

    url: str
    secret: str = field(repr=False)
    tenant: str = TENANT
    ca_file: Path | None = None
    guests_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be an address or a secret.

        Raises:
            AgentError: `invalid_input`.
        """
        try:
            GatewayUrl.parse(self.url)
            if self.guests_url is not None:
                GatewayUrl.parse(self.guests_url, GUESTS_URL)
        except BadGatewayUrl as error:
            raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error
        if len(self.secret) < LEAST_SECRET_CHARACTERS:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"the gateway's secret must have {LEAST_SECRET_CHARACTERS} characters at least: set gateway_secret,"
                " ORCHESTRATOR_GATEWAY_SECRET or ORCHESTRATOR_GATEWAY_SECRET_FILE",
            )
        if not self.tenant:
            raise AgentError(ErrorCode.INVALID_INPUT, "the tenant is empty: set tenant or leave it out")

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return GatewayUrl.parse(self.url).scheme

    @property
    def of_guests(self) -> GatewayUrl:
        """Where guests find it."""
        return GatewayUrl.parse(self.guests_url or self.url)

    def authorities(self) -> Authorities | None:
        """Return who may have signed its certificate; None where it speaks no TLS.

        Raises:
            AgentError: `invalid_input` when the file cannot be used.
        """
        if self.scheme == "http":
            return None
        try:
            return Authorities(self.ca_file)
        except BadTlsFile as error:
            raise AgentError(ErrorCode.INVALID_INPUT, f"{CA_FILE}: {error}") from error


class ExternalGateway(ModelGateway):
    """A gateway at an address; it was there before this process and stays after it.

    Args:
        address: Where it is.
        by_number: Whether guests are told the number of its host: they may have no way to resolve a name.
    """

    def __init__(self, address: GatewayAddress, *, by_number: bool = False) -> None:
        """Begin without asking it."""
        super().__init__(address.secret.strip().encode(), address.tenant, address.authorities())
        self._number = GatewayNumber(address.of_guests.by_number) if by_number else None
        self._url = address.url.rstrip("/")
        self._guests_url = (address.guests_url or address.url).rstrip("/")
        self._was_ready = False
        self._watched = False

    @property
    def address(self) -> str:
        """Its base URL."""
        return self._url

    @property
    def watched(self) -> bool:
        """Whether it has said that it tells anybody of executions; False until it has served once."""
        return self._watched

    def ready(self) -> None:
        """Return when it has said once that it serves; later its calls say what is wrong with it.

        Raises:
            AgentError: `model_unavailable` when it does not.
        """
        if not self._was_ready:
            self.wait()

    def wait(self) -> None:
        """Return when it says that it serves, also where it has said so before and was killed since.

        Raises:
            AgentError: `model_unavailable` when it does not.
        """
        end = time.monotonic() + READY_SECONDS
        while True:
            cause = self._fault()
            if cause is None:
                self._was_ready = True
                return
            if time.monotonic() > end:
                message = f"the gateway at {self._url} does not serve: set another gateway_url, or start it"
                raise AgentError(ErrorCode.MODEL_UNAVAILABLE, message, cause=cause)
            time.sleep(_PAUSE_SECONDS)

    def guests_address(self, *, closed: bool) -> str:
        """Return its base URL as guests know it.

        Raises:
            AgentError: `model_unavailable` when its name cannot be resolved.
        """
        try:
            return self._guests_url if self._number is None else self._number.current()
        except OSError as error:
            message = f"the name of the gateway at {self._url} cannot be resolved: change gateway_url"
            raise AgentError(ErrorCode.MODEL_UNAVAILABLE, message, cause=str(error)) from error

    def close(self) -> None:
        """Leave it as it is."""

    def _fault(self) -> str | None:
        """Return why it does not serve; None when it does."""
        try:
            asked = time.time()
            with urllib.request.urlopen(
                f"{self._url}/ready", timeout=_ASK_SECONDS, context=self.tls
            ) as answer:
                told = parse(answer.read(_LONGEST_ANSWER))
                self.clock_ahead = clock_ahead(answer.headers["Date"], asked, time.time())
            if self._number is not None:
                self._number.refresh()  # here, where it may take its time: it may serve at another place now
        except NotJson as error:
            return f"it is no gateway: {error}"
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code}: {error.read(_SHOWN).decode(errors='replace')}"
        except OSError as error:
            return str(error)
        self._watched = isinstance(told, dict) and told.get("telemetry") is True
        return None


def clock_ahead(date: str | None, asked: float, answered: float) -> float:
    """Return the seconds that another machine's clock is ahead of this one's; 0 where they agree as far as can be seen.

    Args:
        date: When it answered, as it says in its `Date` header, to the second; None where it does not say.
        asked: When it was asked, as Unix time of this machine.
        answered: When its answer was here.
    """
    try:
        there = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return 0.0
    if asked - _SECOND <= there <= answered:
        return 0.0
    return there + _SECOND / 2 - (asked + answered) / 2


class GatewaySteps:
    """Finished tool calls in the gateway's journal, where a retry finds them on any machine; see `client.StepJournal`.

    A gateway that is away is waited for: the tool whose result is to be recorded has had its effect. Where the answer
    to a lookup was lost, the next one finds a tool that may run only once begun, and its result is told to be unknown.

    Raises:
        AgentError: `state_unavailable`, from every method, when the gateway does not answer.
    """

    def __init__(self, gateway: ModelGateway) -> None:
        """Begin without a connection."""
        self._gateway = gateway
        self._session: aiohttp.ClientSession | None = None

    async def lookup(self, request: StepLookup) -> Step:
        """Say what is known of a step, and mark one that may run only once as started."""
        answer = await self._ask("lookup", encode(request))
        try:
            return decode(Step, answer)
        except InvalidMessage as error:
            raise _unavailable(str(error)) from error

    async def record(self, request: StepRecord) -> None:
        """Remember a step's result; durable when this returns."""
        await self._ask("record", encode(request))

    async def forget(self, executions: Sequence[str]) -> None:
        """Do nothing: the gateway forgets steps with the calls of the same executions."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, what: str, step: dict[str, Json]) -> Json:
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                return await self._ask_once(what, step)
            except _Away as away:
                if time.monotonic() > until:
                    raise _unavailable(str(away)) from away
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask_once(self, what: str, step: dict[str, Json]) -> Json:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_STEP_SECONDS)
        headers: dict[str, Any] = {
            "authorization": f"Bearer {self._gateway.trusted_token()}",
            "content-type": "application/json",
        }
        body = dump({"tenant": self._gateway.tenant, "step": step})
        try:
            async with self._session.post(
                f"{self._gateway.address}/admin/steps/{what}",
                data=body,
                headers=headers,
                ssl=self._gateway.tls or True,
            ) as answer:
                content = await answer.read()
                if answer.status != 200:
                    told = f"{answer.status}: {content[:_SHOWN].decode(errors='replace')}"
                    raise (
                        _Away(told) if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else _unavailable(told)
                    )
                return parse(content)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _Away(f"{type(error).__name__}: {error}") from error
        except NotJson as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from error


class _Away(Exception):
    """The gateway, or its journal, is not there at this moment."""


def _unavailable(cause: str) -> AgentError:
    return AgentError(ErrorCode.STATE_UNAVAILABLE, "tool calls cannot be journaled", cause=cause)
