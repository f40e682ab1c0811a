"""The process of the reference marketplace: its database, its checks, its server; several may share a database.

name: agents.example
database: catalogue.db
operators: [operator.pub]
registries: [registry.example/agents]
advisories: advisories
limits: {submissions_a_day: 20, events_days: 90}
webhooks: {hosts: [hooks.internal]}
bus: redis://redis.internal/0
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from orchestrator_marketplace.catalogue_databases import open_database
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplace_limits import Limits
from orchestrator_marketplace.marketplace_server import application
from orchestrator_marketplace.marketplaces import MarketplaceError
from orchestrator_marketplace.page_server import page_routes
from orchestrator_marketplace.publication_checks import PublicationChecks
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signing_keys import load_public_key
from orchestrator_marketplace.strict_yaml import read_yaml
from orchestrator_marketplace.webhook_deliveries import TRIES, WebhookDeliveries
from orchestrator_marketplace.webhook_targets import WebhookSender

DATABASE: Final = "ORCHESTRATOR_MARKETPLACE_DATABASE"
"""Variable with the URL of the database, or with `_FILE` of a file that holds it: URLs have passwords."""
BUS: Final = "ORCHESTRATOR_MARKETPLACE_BUS"
"""The same for the URL of Redis."""

_LOG: Final = logging.getLogger(__name__)
_END_SECONDS: Final = 10.0
_FORGET_SECONDS: Final = 3_600.0


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """How events are sent to who subscribed.

    Attributes:
        hosts: To which they are sent wherever they are, also by plain HTTP; others need HTTPS and a public address.
        tries: After how many failures in a row a subscription is paused; 20 are about ten hours.
    """

    hosts: tuple[str, ...] = ()
    tries: int = TRIES

    def __post_init__(self) -> None:
        """Refuse what would never be sent."""
        if self.tries < 1:
            raise ValueError("tries: at least 1")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What an operator writes; paths are relative to the file.

    Attributes:
        name: Which actions are for it.
        operators: Files of public keys, whose owners register publishers, approve, reject and withdraw.
        registries: Hosts, perhaps with a prefix, from which bundles are taken.
        database: SQLite file, made when it is not there, or URL of a PostgreSQL database, which several services may
            share; None when `ORCHESTRATOR_MARKETPLACE_DATABASE` says it.
        advisories: Mirror of known weaknesses, told beside a submission; None does not look.
        limits: How much it takes, and how long it remembers.
        webhooks: How events are sent to who subscribed.
        bus: URL of a Redis on which events are put, too (see `event_streams`); None puts them nowhere, unless
            `ORCHESTRATOR_MARKETPLACE_BUS` says it.
        bus_events: How many are kept there, about.
    """

    name: str
    operators: tuple[str, ...]
    registries: tuple[str, ...]
    database: str | None = None
    advisories: str | None = None
    limits: Limits = field(default_factory=Limits)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    bus: str | None = None
    bus_events: int = 10_000

    def __post_init__(self) -> None:
        """Refuse a marketplace that nobody could use."""
        if not self.operators or not self.registries:
            raise ValueError("operators, registries: name at least one of each")
        if self.bus_events < 1:
            raise ValueError("bus_events: at least 1")


def service(file: Path) -> Starlette:
    """Return the application that a file describes; its checks run while it is served.

    Raises:
        BundleRefused: `malformed`, with the file and what to change.
        MarketplaceError: `unavailable` when its database is.
    """
    settings = read_yaml(ServiceSettings, file)
    place = _told(DATABASE) or settings.database
    if place is None:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: database: name a file, or set {DATABASE}")
    catalogue = Catalogue(open_database(place, file.parent))
    limits = settings.limits
    marketplace = ReferenceMarketplace(
        settings.name,
        catalogue,
        tuple(load_public_key(file.parent / key) for key in settings.operators),
        settings.registries,
        limits,
        settings.webhooks.hosts,
    )
    bus = _told(BUS) or settings.bus
    relays = () if bus is None else (_relay(bus, settings, catalogue),)
    deliveries = WebhookDeliveries(
        catalogue, WebhookSender(settings.webhooks.hosts).send, tries=settings.webhooks.tries
    )
    checks = PublicationChecks(
        marketplace,
        advisories=None if settings.advisories is None else file.parent / settings.advisories,
        most_bytes=None if limits.bundle_mb is None else limits.bundle_mb * 2**20,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncGenerator[None]:
        ended = threading.Event()
        # daemons: a registry that is being waited for does not keep the process
        threads = [
            threading.Thread(target=checks.run_until, args=(ended,), name="checks", daemon=True),
            threading.Thread(target=_forget_until, args=(marketplace, ended), name="forgets", daemon=True),
            *(threading.Thread(target=relay, args=(ended,), name="relays", daemon=True) for relay in relays),
        ]
        for thread in threads:
            thread.start()
        sending = asyncio.create_task(deliveries.run())
        try:
            yield
        finally:
            ended.set()
            sending.cancel()
            await asyncio.wait([sending])
            for thread in threads:
                thread.join(_END_SECONDS)
            if not any(thread.is_alive() for thread in threads):
                catalogue.close()

    return application(marketplace, lifespan, page_routes(settings.name, settings.registries))


def _relay(url: str, settings: ServiceSettings, catalogue: Catalogue) -> Callable[[threading.Event], None]:
    try:
        from orchestrator_marketplace.event_streams import StreamRelay
    except ImportError as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"bus: needs a library: install orchestrator-marketplace[bus] ({error})"
        ) from error
    return StreamRelay(url, settings.name, catalogue, most=settings.bus_events).run_until


def _forget_until(marketplace: ReferenceMarketplace, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            marketplace.forget()
        except MarketplaceError as error:  # what is older than it is kept stays until the next time
            _LOG.warning("nothing is forgotten now: %s (%s)", error.message, error.cause)
        ended.wait(_FORGET_SECONDS)


def _told(variable: str) -> str | None:
    """Return what a variable says, or the file that it names with `_FILE`; None when neither is set.

    Raises:
        BundleRefused: `malformed` when the file cannot be read.
    """
    if said := os.environ.get(variable):
        return said
    named = os.environ.get(f"{variable}_FILE")
    if not named:
        return None
    try:
        return Path(named).read_text().strip()
    except (OSError, UnicodeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"{variable}_FILE: {named!r} cannot be read", cause=str(error)
        ) from error
