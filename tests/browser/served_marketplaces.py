"""A marketplace as it is served: its own service over a real registry, an operator and a publisher with keys."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvicorn

from orchestrator_marketplace.actions import Action, Kind, moment, new_id, seal_action
from orchestrator_marketplace.bundle_artifacts import build_bundle, open_bundle
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplace_service import service
from orchestrator_marketplace.marketplaces import Listing
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signatures import Signer, sign_bundle
from orchestrator_marketplace.signing_keys import load_private_key, public_pem, write_key_pair
from orchestrator_marketplace.statements import Source
from orchestrator_marketplace.transfers import push_bundle
from orchestrator_marketplace.workflow import State
from tests.integration.bundle_registries import real_registry
from tests.unit.marketplace.signed_evaluations import sign_evaluation
from tests.unit.marketplace.written_bundles import LOCK, write_bundle

CHECK_SECONDS: Final = 20.0


class ServedMarketplace:
    """See the module.

    Args:
        folder: Of its files and keys.
        registry: Where bundles lie.
        name: Its host and port, as people write them.
    """

    def __init__(self, folder: Path, registry: str, name: str) -> None:
        self.folder, self.name = folder, name
        self.url: Final = f"http://{name}"
        self.registry: Final = f"{registry}/agents"
        for who in ("operator", "acme", "alpha"):
            write_key_pair(folder / f"{who}.key", folder / f"{who}.key.pub")
        settings = {
            "name": name,
            "database": "catalogue.db",
            "operators": ["operator.key.pub"],
            "registries": [self.registry],
        }
        self.settings: Final = folder / "marketplace.yaml"
        self.settings.write_text(json.dumps(settings))
        self._built = 0

    def act(
        self,
        who: str,
        kind: Kind,
        agent: str | None = None,
        version: str | None = None,
        *,
        publisher: str = "acme",
        reference: str | None = None,
        key: str | None = None,
        reason: str | None = None,
        replacement: str | None = None,
        platform: str | None = None,
        stars: int | None = None,
    ) -> Listing | None:
        """Do something as whoever has the key of that name; see `Action`."""
        action = Action(
            marketplace=self.name,
            id=new_id(),
            at=moment(datetime.now(UTC)),
            kind=kind,
            publisher=publisher,
            agent=agent,
            version=version,
            reference=reference,
            key=key,
            reason=reason,
            replacement=replacement,
            platform=platform,
            stars=stars,
        )
        with contextlib.closing(HttpMarketplace(self.url)) as client:
            return client.act(seal_action(action, load_private_key(self.folder / f"{who}.key")))

    def register(self, publisher: str) -> None:
        """Let somebody publish, or rate as a platform."""
        pem = public_pem(load_private_key(self.folder / f"{publisher}.key").public_key()).decode()
        self.act("operator", "register", publisher=publisher, key=pem)

    def submit(
        self,
        agent: str,
        version: str,
        files: dict[str, str],
        *,
        evaluated: bool | None = None,
        **manifest: str,
    ) -> Listing:
        """Build, sign, push and submit a version of acme; return it as the checks left it.

        Args:
            agent: Which.
            version: Which.
            files: Texts that take the place of those of the folder, by path.
            evaluated: Whether its cases pass, as acme signs it; None signs nothing of them.
            manifest: As `write_bundle` changes it.
        """
        self._built += 1
        folder = self.folder / str(self._built)
        source = write_bundle(folder / "source", name=f"acme/{agent}", version=version, **manifest)
        for path, content in files.items():
            (source / path).write_text(content)
        layout = Layout(folder / "dist")
        entry = build_bundle(read_folder(source), LOCK, layout)
        signer = Signer(key=load_private_key(self.folder / "acme.key"))
        origin = Source(uri="https://git.example/acme/agents", commit="0" * 40)
        bundle = open_bundle(layout, entry)
        sign_bundle(layout, bundle, signer, datetime.now(UTC), source=origin)
        if evaluated is not None:
            sign_evaluation(layout, bundle, signer.key, passes=evaluated)
        reference = parse_reference(f"{self.registry}/acme/{agent}:{version}")
        with Repository(reference) as repository:
            push_bundle(layout, entry, repository)
        address = str(replace(reference, tag=None).pinned(entry.digest))
        self.act("acme", "submit", agent, version, reference=address)
        return self.checked(f"acme/{agent}", version)

    def checked(self, name: str, version: str) -> Listing:
        """Return a version when the checks are done with it."""
        until = time.monotonic() + CHECK_SECONDS
        with contextlib.closing(HttpMarketplace(self.url)) as client:
            while time.monotonic() < until:
                listing = client.version(name, version)
                if listing.state is not State.CHECKS:
                    return listing
                time.sleep(0.1)
        raise AssertionError(f"{name} {version} is not checked")

    def publish(
        self,
        agent: str,
        version: str,
        files: dict[str, str] | None = None,
        *,
        evaluated: bool | None = None,
        **manifest: str,
    ) -> Listing:
        """Submit a version of acme, and approve it."""
        listing = self.submit(agent, version, files or {}, evaluated=evaluated, **manifest)
        assert listing.state is State.REVIEW, listing.reason
        published = self.act("operator", "approve", agent, version)
        assert published is not None
        return published


@contextlib.contextmanager
def served_marketplace(folder: Path) -> Generator[ServedMarketplace]:
    """Serve a marketplace, empty, on a free port of this machine."""
    store = folder / "registry"
    store.mkdir()
    with real_registry(store) as registry, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        made = ServedMarketplace(folder, registry, f"127.0.0.1:{bound.getsockname()[1]}")
        with _serving(made.settings, [bound]):
            yield made


@contextlib.contextmanager
def _serving(settings: Path, sockets: Sequence[socket.socket]) -> Generator[None]:
    config = uvicorn.Config(service(settings), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=list(sockets)))
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < until and thread.is_alive(), "the marketplace does not start"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
