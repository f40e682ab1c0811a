"""Who publishes in a storm: builds, signs, pushes, submits, approves, and says it again until it is done."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import Action, moment, new_id, seal_action
from orchestrator_marketplace.bundle_artifacts import build_bundle, open_bundle
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplaces import MarketplaceError, Problem
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_errors import RegistryUnavailable
from orchestrator_marketplace.signatures import Signer, sign_bundle
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.transfers import push_bundle
from orchestrator_marketplace.workflow import State
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.locks import Lock
from storms.platforms import PUBLISHER, Platform

T = TypeVar("T")

PATIENCE_SECONDS: Final = 300.0
"""How long something is tried whose other side is killed now and then."""

_PAUSE_SECONDS: Final = 0.1
_MANIFEST: Final = """\
bundle: 1
name: {name}
version: {version}
summary: Repeats a text
licence: Apache-2.0
framework: {framework}
portable: {{name: repeater, instructions: Repeat., model: smollm2}}
inputs: {{type: object, properties: {{text: {{type: string}}}}, required: [text]}}
"""


class StormPublisher:
    """`acme`, who publishes many versions, and the operator who approves them.

    Args:
        platform: Where.
        folder: For bundles; made here.
        framework: What the bundles are for.
    """

    def __init__(self, platform: Platform, folder: Path, framework: str = "fake") -> None:
        """Have the keys."""
        folder.mkdir()
        self._platform, self._folder, self._framework = platform, folder, framework
        self._market = HttpMarketplace(platform.market_url)
        self._key, self._operator = platform.key, platform.operator

    def register(self) -> None:
        """Become known at the marketplace."""
        key = public_pem(self._key.public_key()).decode()
        self._act(self._operator, self._action("register", key=key))

    def store(self, agent: str, version: str, lock: Lock | None = None) -> str:
        """Build, sign and push a version; return its pinned address.

        Args:
            agent: Which one.
            version: Which one.
            lock: Of a runtime profile; None where the framework alone is enough.
        """
        folder = self._folder / agent / version
        source = folder / "source"
        (source / "agent").mkdir(parents=True)
        name = f"{PUBLISHER}/{agent}"
        (source / "bundle.yaml").write_text(
            _MANIFEST.format(name=name, version=version, framework=self._framework)
            + ("" if lock is None else "profile: more.toml\n")
        )
        (source / "agent" / "words.txt").write_text(f"{version}\n")
        (source / "README.md").write_text("# Repeater\n\nSays what it is told.\n")
        (source / "evaluation.jsonl").write_text(json.dumps({"name": "one", "inputs": {"text": "a"}}) + "\n")
        return self.push(source, agent, version, lock)

    def push(self, source: Path, agent: str, version: str, lock: Lock | None = None) -> str:
        """Build, sign and push what somebody wrote; return its pinned address.

        Args:
            source: Folder of the bundle.
            agent: Which one it is.
            version: Which one it is.
            lock: See `store`.
        """
        layout = Layout(self._folder / agent / version / "layout")
        entry = build_bundle(read_folder(source), lock or Lock(python=""), layout)
        sign_bundle(layout, open_bundle(layout, entry), Signer(key=self._key), datetime.now(UTC))
        place = parse_reference(f"{self._platform.registry_address}/{PUBLISHER}/{agent}")
        reference = replace(place, digest=entry.digest)

        def send() -> None:
            with Repository(reference) as repository:
                push_bundle(layout, entry, repository)

        _again(send)
        return str(reference)

    def submit(self, agent: str, version: str, reference: str) -> bytes:
        """Submit a version; return what was sent."""
        action = self._action("submit", agent=agent, version=version, reference=reference)
        return self._act(self._key, action)

    def approve(self, agent: str, version: str) -> bytes:
        """Wait until a version was checked, and approve it; return what was sent."""
        self.checked(agent, version)
        return self._act(self._operator, self._action("approve", agent=agent, version=version))

    def checked(self, agent: str, version: str) -> None:
        """Wait until a version was checked.

        Raises:
            RuntimeError: It was refused, or that takes too long.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        name = f"{PUBLISHER}/{agent}"
        while (listing := _again(lambda: self._market.version(name, version))).state is not State.REVIEW:
            if listing.state is not State.CHECKS or time.monotonic() > until:
                raise RuntimeError(f"{name} {version} is {listing.state}: {listing.reason}")
            time.sleep(_PAUSE_SECONDS)

    def withdraw(self, agent: str, version: str) -> bytes:
        """Withdraw a version; return what was sent."""
        return self._act(self._key, self._action("withdraw", agent=agent, version=version))

    def replay(self, sent: Sequence[bytes]) -> None:
        """Send again what was sent before; it changes nothing."""
        for action in sent:
            self._send(action)

    def close(self) -> None:
        """End all connections."""
        self._market.close()

    def _action(
        self,
        kind: Literal["register", "submit", "approve", "withdraw"],
        *,
        agent: str | None = None,
        version: str | None = None,
        reference: str | None = None,
        key: str | None = None,
    ) -> Action:
        return Action(
            marketplace=self._platform.market_name,
            id=new_id(),
            at=moment(datetime.now(UTC)),
            kind=kind,
            publisher=PUBLISHER,
            agent=agent,
            version=version,
            reference=reference,
            key=key,
        )

    def _act(self, who: ec.EllipticCurvePrivateKey, action: Action) -> bytes:
        sealed = seal_action(action, who)
        self._send(sealed)
        return sealed

    def _send(self, sealed: bytes) -> None:
        # always the same one: it may have been done when only the answer was lost
        _again(lambda: self._market.act(sealed))


def _again(work: Callable[[], T]) -> T:
    """Return what work returns; try it again while the other side is away."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except AgentError as error:
            away = isinstance(error, RegistryUnavailable) or (
                isinstance(error, MarketplaceError) and error.problem is Problem.UNAVAILABLE
            )
            if not away or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_SECONDS)
