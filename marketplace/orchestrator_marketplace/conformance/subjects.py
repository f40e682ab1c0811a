"""A marketplace under test, and what tests of one do at it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import Action, moment, new_id, seal_action
from orchestrator_marketplace.marketplaces import Listing, Marketplace, MarketplaceError, Problem
from orchestrator_marketplace.signing_keys import public_pem


class Named(Protocol):
    """A marketplace, as actions name it."""

    name: str


class Subject(ABC):
    """A marketplace under test, empty."""

    marketplace: Marketplace
    name: str
    operator: ec.EllipticCurvePrivateKey

    @abstractmethod
    def store(
        self,
        name: str,
        version: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        summary: str = "Reads",
        pricing: Mapping[str, str] | None = None,
        terms: str | None = None,
        evaluated: bool | None = None,
    ) -> str:
        """Put a bundle that a key has signed where the marketplace takes bundles from; return its pinned address.

        With `evaluated`, the key signs an evaluation, too: all cases pass, or all fail; None signs none.
        """

    @abstractmethod
    def check(self) -> None:
        """Let the marketplace check what was submitted, until nothing waits."""


class MarketplaceTests:
    """Override `subject` by a fixture that yields a `Subject`."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """Say how the marketplace is reached."""
        raise NotImplementedError

    @pytest.fixture
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The publisher's."""
        return ec.generate_private_key(ec.SECP256R1())

    def action(self, subject: Named, kind: str, publisher: str = "acme", **more: Any) -> Action:
        """Return an action of now."""
        return Action(
            marketplace=subject.name,
            id=new_id(),
            at=moment(datetime.now(UTC)),
            kind=kind,  # type: ignore[arg-type]  # checked when it is read
            publisher=publisher,
            **more,
        )

    def act(
        self,
        subject: Subject,
        who: ec.EllipticCurvePrivateKey,
        kind: str,
        publisher: str = "acme",
        **more: object,
    ) -> Listing | None:
        """Do something as whoever has a key."""
        return subject.marketplace.act(seal_action(self.action(subject, kind, publisher, **more), who))

    def register(self, subject: Subject, key: ec.EllipticCurvePrivateKey, publisher: str = "acme") -> None:
        """Let a key publish for a publisher."""
        pem = public_pem(key.public_key()).decode()
        self.act(subject, subject.operator, "register", publisher, key=pem)

    def publish(
        self,
        subject: Subject,
        key: ec.EllipticCurvePrivateKey,
        version: str,
        name: str = "acme/reviewer",
        *,
        summary: str = "Reads",
        pricing: Mapping[str, str] | None = None,
        terms: str | None = None,
        evaluated: bool | None = None,
    ) -> Listing:
        """Submit, check, approve."""
        publisher, _, agent = name.partition("/")
        address = subject.store(
            name, version, key, summary=summary, pricing=pricing, terms=terms, evaluated=evaluated
        )
        self.act(subject, key, "submit", publisher, agent=agent, version=version, reference=address)
        subject.check()
        done = self.act(subject, subject.operator, "approve", publisher, agent=agent, version=version)
        assert done is not None
        return done

    def problem(self, *words: object, **more: object) -> Problem:
        """Do something that is not done, and return why."""
        with pytest.raises(MarketplaceError) as refused:
            self.act(*words, **more)  # type: ignore[arg-type]  # as act has them
        return refused.value.problem
