"""The process of the reference marketplace: its file, its checks, its server.

name: agents.example
database: catalogue.db
operators: [operator.pub]
registries: [registry.example/agents]
advisories: advisories
"""

import contextlib
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplace_server import application
from orchestrator_marketplace.publication_checks import PublicationChecks
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.signing_keys import load_public_key
from orchestrator_marketplace.strict_yaml import read_yaml

_END_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What an operator writes; paths are relative to the file.

    Attributes:
        name: Which actions are for it.
        database: SQLite file; made when it is not there.
        operators: Files of public keys, whose owners register publishers, approve, reject and withdraw.
        registries: Hosts, perhaps with a prefix, from which bundles are taken.
        advisories: Mirror of known weaknesses, told beside a submission; None does not look.
    """

    name: str
    database: str
    operators: tuple[str, ...]
    registries: tuple[str, ...]
    advisories: str | None = None

    def __post_init__(self) -> None:
        """Refuse a marketplace that nobody could use."""
        if not self.operators or not self.registries:
            raise ValueError("operators, registries: name at least one of each")


def service(file: Path) -> Starlette:
    """Return the application that a file describes; its checks run while it is served.

    Raises:
        BundleRefused: `malformed`, with the file and what to change.
    """
    settings = read_yaml(ServiceSettings, file)
    catalogue = Catalogue(file.parent / settings.database)
    marketplace = ReferenceMarketplace(
        settings.name,
        catalogue,
        tuple(load_public_key(file.parent / key) for key in settings.operators),
        settings.registries,
    )
    advisories = None if settings.advisories is None else file.parent / settings.advisories
    checks = PublicationChecks(marketplace, advisories=advisories)

    @contextlib.asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncGenerator[None]:
        ended = threading.Event()
        # a daemon: a registry that is being waited for does not keep the process
        thread = threading.Thread(target=checks.run_until, args=(ended,), name="checks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(_END_SECONDS)
            if not thread.is_alive():
                catalogue.close()

    return application(marketplace, lifespan)
