"""The reference marketplace: a catalogue of bundles that lie in registries, moved by signed actions and its checks."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator_marketplace.actions import Action, check_time, moment, open_action
from orchestrator_marketplace.catalogues import Catalogue, Change
from orchestrator_marketplace.envelopes import Envelope
from orchestrator_marketplace.marketplaces import (
    LONGEST_WAIT_SECONDS,
    MOST_AT_ONCE,
    Event,
    Events,
    Listing,
    Listings,
    Marketplace,
    MarketplaceError,
    Problem,
    PublisherKeys,
    Query,
)
from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.workflow import MOVES, Move, Role, State, moves_from

_POLL_SECONDS: Final = 0.5
"""How often events of other processes are looked for; those of this one are told at once."""


class ReferenceMarketplace(Marketplace):
    """See the module.

    Args:
        name: By which actions say that they are for it.
        catalogue: What it keeps.
        operators: Whose keys may approve, reject, withdraw, and register publishers.
        registries: Hosts, perhaps with a prefix, from which bundles may be submitted.
        clock: The moment, with its zone.
    """

    def __init__(
        self,
        name: str,
        catalogue: Catalogue,
        operators: tuple[ec.EllipticCurvePublicKey, ...],
        registries: tuple[str, ...],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open a marketplace."""
        self.name = name
        self.catalogue = catalogue
        self._operators = operators
        self._registries = registries
        self._clock = clock
        self._changed = threading.Condition()

    def search(self, query: Query) -> Listings:
        """See `Marketplace`."""
        found = self.catalogue.search(query)
        page = found[: query.limit]
        return Listings(listings=page, after=page[-1].name if len(found) > query.limit else None)

    def versions(self, name: str) -> tuple[Listing, ...]:
        """See `Marketplace`."""
        parsed = _name(name)
        return self.catalogue.versions(*parsed) or _nothing(name)

    def version(self, name: str, version: str) -> Listing:
        """See `Marketplace`."""
        parsed = _name(name)
        return self.catalogue.version(*parsed, version) or _nothing(f"{name} {version:.80}")

    def publisher(self, name: str) -> PublisherKeys:
        """See `Marketplace`."""
        keys = self.catalogue.keys(name)
        if keys is None:
            return _nothing(name)
        return PublisherKeys(publisher=name, keys=keys)

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """See `Marketplace`."""
        until = time.monotonic() + min(wait_seconds, LONGEST_WAIT_SECONDS)
        while True:
            found = self.catalogue.events(after, min(limit, MOST_AT_ONCE))
            left = until - time.monotonic()
            if found or left <= 0:
                return Events(events=found, cursor=found[-1].cursor if found else after)
            with self._changed:
                self._changed.wait(min(left, _POLL_SECONDS))

    def act(self, action: bytes) -> Listing | None:
        """See `Marketplace`."""
        wanted, envelope = open_action(action)
        if wanted.marketplace != self.name:
            raise MarketplaceError(
                Problem.MALFORMED, f"the action is for {wanted.marketplace!r:.80}, this is {self.name}"
            )
        check_time(wanted, self._clock())
        with self.catalogue.change() as change:
            roles = self._roles(wanted, envelope)
            if change.first_time(wanted.id, action):
                if wanted.agent is None:
                    self._change_keys(change, wanted, roles)
                else:
                    self._move(change, wanted, roles)
        self._tell()
        if wanted.agent is None or wanted.version is None:
            return None
        return self.catalogue.version(wanted.publisher, wanted.agent, wanted.version)

    def checked(self, listing: Listing, outcome: Listing | BundleRefused) -> None:
        """Move a version that was checked, unless it was moved meanwhile.

        Args:
            listing: As it was when the checks began.
            outcome: With what the bundle says of itself, or why it is not taken.
        """
        publisher, agent = _name(listing.name)
        with self.catalogue.change() as change:
            now = self.catalogue.version(publisher, agent, listing.version)
            if now != listing:
                return
            if isinstance(outcome, BundleRefused):
                after = replace(listing, findings=(outcome.message,), reason=outcome.message)
                self._write(change, after, Move.FAIL, frozenset({Role.CHECKS}))
            else:
                self._write(change, outcome, Move.PASS, frozenset({Role.CHECKS}))
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _roles(self, action: Action, envelope: Envelope) -> frozenset[Role]:
        """Return as whom an action was signed.

        Raises:
            MarketplaceError: `forbidden` when as nobody.
        """
        keys = self.catalogue.keys(action.publisher) or ()
        roles: set[Role] = set()
        if any(envelope.is_of(key) for key in self._operators):
            roles.add(Role.OPERATOR)
        if any(envelope.is_of(_key(pem)) for pem in keys):
            roles.add(Role.PUBLISHER)
        if not roles:
            raise MarketplaceError(
                Problem.FORBIDDEN, f"the action is signed by no key of {action.publisher} and by no operator"
            )
        return frozenset(roles)

    def _change_keys(self, change: Change, action: Action, roles: frozenset[Role]) -> None:
        pem = public_pem(_key(action.key or "")).decode()
        if action.kind == "register":
            if Role.OPERATOR not in roles:
                raise MarketplaceError(Problem.FORBIDDEN, "operators register publishers")
            change.add_publisher(action.publisher)
        elif self.catalogue.keys(action.publisher) is None:
            _nothing(action.publisher)
        if action.kind != "remove_key":
            change.add_key(action.publisher, pem)
        elif not change.remove_key(action.publisher, pem):
            raise MarketplaceError(Problem.NOT_FOUND, f"{action.publisher} has no such key")
        change.tell(Event(cursor=0, at=moment(self._clock()), kind=action.kind, publisher=action.publisher))

    def _move(self, change: Change, action: Action, roles: frozenset[Role]) -> None:
        assert action.agent is not None and action.version is not None  # as its kind says
        move = Move(action.kind)
        there = self.catalogue.version(action.publisher, action.agent, action.version)
        if move is Move.SUBMIT:
            reference, digest = self._submitted(action)
            listing = Listing(
                name=f"{action.publisher}/{action.agent}",
                version=action.version,
                state=State.CHECKS if there is None else there.state,
                digest=digest,
                reference=reference,
            )
        elif there is None:
            listing = _nothing(f"{action.publisher}/{action.agent} {action.version}")
        else:
            listing = there
        listing = replace(listing, reason=action.reason, replacement=action.replacement)
        self._write(change, listing, move, roles, is_new=there is None)

    def _submitted(self, action: Action) -> tuple[str, str]:
        try:
            reference = parse_reference(action.reference or "")
        except BundleRefused as error:
            raise MarketplaceError(Problem.MALFORMED, error.message) from error
        place = f"{reference.registry}/{reference.repository}"
        if reference.digest is None:
            raise MarketplaceError(Problem.MALFORMED, f"{reference}: needs a digest: @sha256:…")
        if not any(place.startswith(f"{registry.rstrip('/')}/") for registry in self._registries):
            raise MarketplaceError(
                Problem.FORBIDDEN,
                f"{place}: bundles are taken from {', '.join(self._registries) or 'nowhere'}",
            )
        return str(reference), reference.digest

    def _write(
        self, change: Change, listing: Listing, move: Move, roles: frozenset[Role], *, is_new: bool = False
    ) -> None:
        before = None if is_new else listing.state
        if (before, move) not in MOVES:
            may = ", ".join(moves_from(before)) or "nothing"
            raise MarketplaceError(
                Problem.CONFLICT,
                f"{listing.name} {listing.version} is {before}: {move} is not for it, but {may}",
            )
        after, allowed = MOVES[before, move]
        if not roles & allowed:
            raise MarketplaceError(Problem.FORBIDDEN, f"{move} is for {' or '.join(sorted(allowed))}")
        at = moment(self._clock())
        change.write(replace(listing, state=after, changed=at))
        publisher, agent = _name(listing.name)
        change.tell(
            Event(
                cursor=0,
                at=at,
                kind=move,
                publisher=publisher,
                agent=agent,
                version=listing.version,
                state=after,
                digest=listing.digest,
            )
        )


def _name(text: str) -> tuple[str, str]:
    try:
        parsed = parse_name(text)
    except BundleRefused as error:
        raise MarketplaceError(Problem.MALFORMED, error.message) from error
    return parsed.publisher, parsed.agent


def _key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise MarketplaceError(Problem.MALFORMED, "key: is no public key as PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MarketplaceError(Problem.MALFORMED, "key: is no key of P-256")
    return key


def _nothing(what: str) -> NoReturn:
    raise MarketplaceError(Problem.NOT_FOUND, f"there is no {what!r:.120} here")
