"""A marketplace over HTTP in this process, on which some are registered; nothing is checked there."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from orchestrator_marketplace.actions import Action, moment, new_id, seal_action
from orchestrator_marketplace.catalogue_databases import SqliteDatabase
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplace_server import application
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.signing_keys import (
    load_private_key,
    load_public_key,
    public_pem,
    write_key_pair,
)
from tests.integration.processes import wait_until


@contextmanager
def served_marketplace(folder: Path, registry: str, *registered: str) -> Generator[str]:
    """Serve a marketplace, and yield its address.

    Args:
        folder: Gets `catalogue.db` and the operator's key; has `NAME.key.pub` of each that is registered.
        registry: From which bundles are taken.
        registered: Names of publishers and platforms; none means acme.
    """
    write_key_pair(folder / "operator.key", folder / "operator.key.pub")
    catalogue = Catalogue(SqliteDatabase(folder / "catalogue.db"))
    config = uvicorn.Config("", host="127.0.0.1", port=0, log_level="error")
    sock = config.bind_socket()
    name = f"127.0.0.1:{sock.getsockname()[1]}"
    operator = load_public_key(folder / "operator.key.pub")
    marketplace = ReferenceMarketplace(name, catalogue, (operator,), (registry,))
    config.app = application(marketplace)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the marketplace serves")
        for who in registered or ("acme",):
            registration = Action(
                marketplace=name, id=new_id(), at=moment(datetime.now(UTC)), kind="register", publisher=who,
                key=public_pem(load_public_key(folder / f"{who}.key.pub")).decode(),
            )  # fmt: skip
            marketplace.act(seal_action(registration, load_private_key(folder / "operator.key")))
        yield f"http://{name}"
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()
        catalogue.close()
