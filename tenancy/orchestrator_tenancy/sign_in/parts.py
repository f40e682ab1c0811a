"""What a sign-in is made of, put together from its settings."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.audit.recording import AuditWriter
from orchestrator_tenancy.sign_in.credentials import CookieNames
from orchestrator_tenancy.sign_in.identification import Identification
from orchestrator_tenancy.sign_in.known_tenants import KnownTenants
from orchestrator_tenancy.sign_in.provider import Provider
from orchestrator_tenancy.sign_in.provider_calls import ProviderCalls
from orchestrator_tenancy.sign_in.provider_facts import ProviderFacts
from orchestrator_tenancy.sign_in.sealing import Sealer
from orchestrator_tenancy.sign_in.settings import Secrets, SignInSettings, read_secrets
from orchestrator_tenancy.sign_in.stores import Stores, open_stores
from orchestrator_tenancy.sign_in.throttles import Throttle
from orchestrator_tenancy.tenants import TenantDirectory

T = TypeVar("T")

LOG: Final = logging.getLogger("orchestrator_tenancy")

_THREADS: Final = 4
"""As many as a pool of PostgreSQL has connections."""

_STRANGERS: Final = 120
"""Most records a minute of refusals to people who are not known."""

_REPORT_SECONDS: Final = 60.0


def open_provider(
    settings: SignInSettings, secrets: Secrets, folder: Path, now: Callable[[], float] = time.time
) -> Provider:
    """Return the provider of some settings, which is not asked yet.

    Args:
        settings: Say who it is.
        secrets: Of its client.
        folder: What relative paths are relative to.
        now: Clock, in Unix seconds.

    Raises:
        BadConfiguration: The certificates cannot be read.
    """
    own = settings.provider
    try:
        calls = ProviderCalls(
            own.timeout_seconds, None if own.certificates is None else folder / own.certificates
        )
    except OSError as error:
        raise BadConfiguration(
            f"provider.certificates: {own.certificates!r} cannot be read: {error}"
        ) from error
    facts = ProviderFacts(own.issuer, calls)
    return Provider(own, secrets.client, f"{settings.url}/sign-in/callback", calls, facts, now)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the sign-in of one server is made of.

    Attributes:
        settings: What it was told.
        tenants: Those that there are.
        names: Of cookies.
        stores: What is kept.
        provider: Who knows the people.
        attempts: Seals what a browser keeps of a sign-in on its way.
        identification: Who credentials belong to.
        audit: Writes decisions down.
        all_steps: Throttles sign-ins of all together.
        steps: Throttles those of one address.
        refused: Throttles bad credentials from one address.
        strangers: Throttles records of who is not known.
        executor: In whose threads databases are asked.
        now: Clock, in Unix seconds.
        throttled: Counts what was throttled.
    """

    settings: SignInSettings
    tenants: KnownTenants
    names: CookieNames
    stores: Stores
    provider: Provider
    attempts: Sealer
    identification: Identification
    audit: AuditWriter
    all_steps: Throttle
    steps: Throttle
    refused: Throttle
    strangers: Throttle
    executor: ThreadPoolExecutor
    now: Callable[[], float]
    throttled: "Throttled"

    async def stored(self, work: Callable[[], T]) -> T:
        """Return what some work with the stores returns, done in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def note(self, event: AuditEvent) -> None:
        """Record a refusal, which stands even where it cannot be recorded; the log of the server tells it then."""
        try:
            await self.audit.write(event)
        except AgentError as error:
            LOG.error("not in the audit log (%s): %s", error, event)

    async def note_throttled(self) -> None:
        """Record that somebody was throttled, once a minute at most."""
        if (event := self.throttled.event()) is not None:
            await self.note(event)

    async def note_stranger(self, event: AuditEvent) -> None:
        """Record that somebody who is not known was refused; only counted where too many are."""
        await (self.note_throttled() if self.strangers.take("") else self.note(event))

    def close(self) -> None:
        """End the threads; nothing is served any more."""
        self.executor.shutdown()


class Throttled:
    """Records at most once a minute that somebody was throttled, so that the log does not grow as fast as they try."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._told, self._count = now, float("-inf"), 0

    def event(self) -> AuditEvent | None:
        """Count one more; return what is to be recorded, or None."""
        self._count += 1
        if self._now() - self._told < _REPORT_SECONDS:
            return None
        told = f"too many tries; {self._count} were refused since the last record of this"
        self._told, self._count = self._now(), 0
        return AuditEvent(
            actor="nobody", action="throttle", tenant=None, target="", allowed=False, reason=told
        )


def open_parts(
    settings: SignInSettings,
    folder: Path,
    directory: TenantDirectory,
    database: StateDatabase,
    now: Callable[[], float] = time.time,
) -> Parts:
    """Put a sign-in together; the provider is not asked yet, and may be down.

    Args:
        settings: What it is told.
        folder: What relative paths in them are relative to.
        directory: The tenants.
        database: Of the control plane.
        now: Clock, in Unix seconds.

    Raises:
        BadConfiguration: A secret or a file is missing.
        AgentError: `state_unavailable` when the database does not answer.
    """
    secrets = read_secrets(settings, folder)
    stores = open_stores(database, settings, secrets, now)
    executor = ThreadPoolExecutor(_THREADS, "sign-in")
    throttle = settings.throttle
    tenants = KnownTenants(directory, executor, settings.sessions.recheck_seconds, time.monotonic)
    return Parts(
        settings=settings,
        tenants=tenants,
        names=CookieNames(https=settings.https),
        stores=stores,
        provider=open_provider(settings, secrets, folder, now),
        attempts=Sealer(secrets.sealing, "attempt"),
        identification=Identification(
            stores.sessions, stores.tokens, tenants, executor, settings.sessions.recheck_seconds
        ),
        audit=AuditWriter(stores.audit, executor),
        all_steps=Throttle(throttle.per_minute),
        steps=Throttle(throttle.per_address_per_minute),
        refused=Throttle(throttle.refused_per_address_per_minute),
        strangers=Throttle(_STRANGERS),
        executor=executor,
        now=now,
        throttled=Throttled(now),
    )
