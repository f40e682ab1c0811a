"""The reference marketplace: a catalogue of bundles in registries, moved by signed actions and its checks."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator_marketplace import subscriptions
from orchestrator_marketplace.actions import Action, check_moment, check_time, moment, open_action
from orchestrator_marketplace.catalogues import Catalogue, Change
from orchestrator_marketplace.envelopes import Envelope
from orchestrator_marketplace.evidence import Evidence
from orchestrator_marketplace.evidence_store import read_evidence, write_evidence
from orchestrator_marketplace.marketplace_limits import Limits
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
    Rating,
    Ratings,
    Subscription,
)
from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.subscriptions import Kept
from orchestrator_marketplace.usage_book import reports_of, take_report
from orchestrator_marketplace.usage_envelopes import open_question, open_report
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReports
from orchestrator_marketplace.webhook_signatures import new_secret
from orchestrator_marketplace.webhook_targets import TargetRefused, check_target
from orchestrator_marketplace.workflow import EVER_PUBLIC, MOVES, Move, Role, State, moves_from

_OF_SUBSCRIPTIONS: Final = frozenset({"subscribe", "resume", "unsubscribe"})
_POLL_SECONDS: Final = 0.5
"""How often events of other processes are looked for; those of this one are told at once."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A submission that passed the checks.

    Attributes:
        listing: With what the bundle says of itself.
        evidence: What was seen of it.
    """

    listing: Listing
    evidence: Evidence


class ReferenceMarketplace(Marketplace):
    """See the module.

    Args:
        name: By which actions say that they are for it.
        catalogue: What it keeps.
        operators: Whose keys may approve, reject, withdraw, and register publishers.
        registries: Hosts, perhaps with a prefix, from which bundles may be submitted.
        limits: How much publishers may submit, and how long it is remembered.
        hosts: To which webhooks are sent wherever they are, also by plain HTTP; others need a public address.
        clock: The moment, with its zone.
    """

    def __init__(
        self,
        name: str,
        catalogue: Catalogue,
        operators: tuple[ec.EllipticCurvePublicKey, ...],
        registries: tuple[str, ...],
        limits: Limits | None = None,
        hosts: tuple[str, ...] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open a marketplace."""
        self.name = name
        self.catalogue = catalogue
        self._operators = operators
        self._registries = registries
        self._limits = limits or Limits()
        self._hosts = hosts
        self._clock = clock
        self._changed = threading.Condition()

    def search(self, query: Query) -> Listings:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            found = view.search(query)
        page = found[: query.limit]
        return Listings(listings=page, after=page[-1].name if len(found) > query.limit else None)

    def versions(self, name: str) -> tuple[Listing, ...]:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            return view.versions(_name(name)) or _nothing(name)

    def version(self, name: str, version: str) -> Listing:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            return view.version(_name(name), version) or _nothing(f"{name} {version:.80}")

    def evidence(self, name: str, version: str) -> Evidence:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            found = read_evidence(view.transaction, _name(name), version)
        return found or _nothing(f"evidence of {name} {version:.80}")

    def history(self, name: str) -> Events:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            found = view.history(_name(name), MOST_AT_ONCE)
        return Events(events=found, cursor=found[-1].cursor if found else 0)

    def publisher(self, name: str) -> PublisherKeys:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            keys = view.keys(name)
        if keys is None:
            return _nothing(name)
        return PublisherKeys(publisher=name, keys=keys)

    def ratings(self, name: str, *, limit: int = MOST_AT_ONCE, after: str | None = None) -> Ratings:
        """See `Marketplace`."""
        most = min(limit, MOST_AT_ONCE)
        with self.catalogue.view() as view:
            found = view.ratings(_name(name), most + 1, after)
            if not found and not view.versions(name):
                _nothing(name)
        return Ratings(ratings=found[:most], after=found[most - 1].platform if len(found) > most else None)

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """See `Marketplace`."""
        until = time.monotonic() + min(wait_seconds, LONGEST_WAIT_SECONDS)
        while True:
            with self.catalogue.view() as view:
                found = view.events(after, min(limit, MOST_AT_ONCE))
            left = until - time.monotonic()
            if found or left <= 0:
                return Events(events=found, cursor=found[-1].cursor if found else after)
            with self._changed:
                self._changed.wait(min(left, _POLL_SECONDS))

    def report_usage(self, report: bytes) -> UsageReceipt:
        """See `Marketplace`."""
        said, envelope = open_report(report)
        self._check_name(said.marketplace, "report")
        if said.month > moment(self._clock())[:7]:
            raise MarketplaceError(Problem.MALFORMED, f"month: {said.month} has not begun")
        with self.catalogue.change() as change:
            if not _signed_by(envelope, change.keys(said.platform)):
                raise MarketplaceError(
                    Problem.FORBIDDEN, f"the report is signed by no key of {said.platform}"
                )
            if change.keys(said.publisher) is None:
                _nothing(said.publisher)
            return take_report(change.transaction, said, report)

    def usage(self, question: bytes) -> UsageReports:
        """See `Marketplace`."""
        asked, envelope = open_question(question)
        self._check_name(asked.marketplace, "question")
        check_moment(asked.at, self._clock())
        with self.catalogue.view() as view:
            own = _signed_by(envelope, view.keys(asked.publisher))
            if not own and not any(envelope.is_of(key) for key in self._operators):
                raise MarketplaceError(
                    Problem.FORBIDDEN,
                    f"the question is signed by no key of {asked.publisher} and by no operator",
                )
            return reports_of(view.transaction, asked.publisher, asked.month, asked.after)

    def _check_name(self, name: str, what: str) -> None:
        if name != self.name:
            raise MarketplaceError(Problem.MALFORMED, f"the {what} is for {name!r:.80}, this is {self.name}")

    def act(self, action: bytes) -> Listing | None:
        """See `Marketplace`."""
        wanted, envelope = self._opened(action)
        if wanted.kind in _OF_SUBSCRIPTIONS:
            raise MarketplaceError(Problem.MALFORMED, f"{wanted.kind}: is for subscriptions, not here")
        with self.catalogue.change() as change:
            roles = self._roles(change, wanted, envelope)
            if change.first_time(wanted.id, moment(self._clock()), action):
                if wanted.kind == "rate":
                    self._rate(change, wanted)
                elif wanted.agent is None:
                    self._change_keys(change, wanted, roles)
                else:
                    self._move(change, wanted, roles)
            done = None
            if wanted.agent is not None and wanted.version is not None:
                done = change.version(f"{wanted.publisher}/{wanted.agent}", wanted.version)
        self._tell()
        return done

    def subscribe(self, action: bytes) -> Subscription:
        """See `Marketplace`."""
        wanted, envelope = self._opened(action)
        if wanted.kind not in _OF_SUBSCRIPTIONS:
            raise MarketplaceError(
                Problem.MALFORMED, f"{wanted.kind}: is nothing that is done with subscriptions"
            )
        with self.catalogue.change() as change:
            self._roles(change, wanted, envelope)
            is_first = change.first_time(wanted.id, moment(self._clock()), action)
            if wanted.kind == "subscribe":
                return self._subscribe(change, wanted, is_first=is_first)
            there = subscriptions.find(change.transaction, wanted.subscription or "")
            if there is None or there.owner != wanted.publisher:
                if wanted.kind == "unsubscribe" and not is_first:
                    return Subscription(id=wanted.subscription or "", url="", state="ended")
                return _nothing("such subscription")
            if not is_first:
                return there.shown
            if wanted.kind == "resume":
                if wanted.after is not None and wanted.after > change.fact("cursor"):
                    raise MarketplaceError(
                        Problem.MALFORMED, f"after: no event has the cursor {wanted.after}"
                    )
                subscriptions.resume(change.transaction, there.shown.id, wanted.after)
                return replace(
                    there.shown,
                    state="active",
                    failures=0,
                    error=None,
                    cursor=there.shown.cursor if wanted.after is None else wanted.after,
                )
            subscriptions.remove(change.transaction, there.shown.id)
            return replace(there.shown, state="ended")

    def _subscribe(self, change: Change, action: Action, *, is_first: bool) -> Subscription:
        if not is_first:
            there = subscriptions.find(change.transaction, action.id)
            return there.shown if there is not None else _nothing("such subscription")
        try:
            check_target(action.url or "", self._hosts)
        except TargetRefused as error:
            raise MarketplaceError(Problem.FORBIDDEN, error.message) from error
        if change.keys(action.publisher) is None:
            _nothing(action.publisher)
        if subscriptions.count_of(change.transaction, action.publisher) >= self._limits.subscriptions:
            raise MarketplaceError(
                Problem.LIMIT,
                f"{action.publisher} has {self._limits.subscriptions} subscriptions: end one of them",
            )
        made = Subscription(
            id=action.id,
            url=action.url or "",
            events=action.events or (),
            about=action.about,
            cursor=change.fact("cursor"),
        )
        secret = new_secret()
        subscriptions.add(change.transaction, Kept(shown=made, owner=action.publisher, secret=secret))
        return replace(made, secret=secret)

    def subscription(self, subscription: str) -> Subscription:
        """See `Marketplace`."""
        with self.catalogue.view() as view:
            there = subscriptions.find(view.transaction, subscription)
        return there.shown if there is not None else _nothing("such subscription")

    def _opened(self, action: bytes) -> tuple[Action, Envelope]:
        wanted, envelope = open_action(action)
        self._check_name(wanted.marketplace, "action")
        check_time(wanted, self._clock())
        return wanted, envelope

    def checked(self, listing: Listing, outcome: Checked | BundleRefused) -> None:
        """Move a version that was checked, unless it was moved meanwhile.

        Args:
            listing: As it was when the checks began.
            outcome: With what the bundle says of itself, or why it is not taken.
        """
        with self.catalogue.change() as change:
            if change.version(listing.name, listing.version) != listing:
                return
            if isinstance(outcome, BundleRefused):
                after = replace(listing, findings=(outcome.message,), reason=outcome.message)
                self._write(change, after, Move.FAIL, frozenset({Role.CHECKS}))
            else:
                self._write(change, outcome.listing, Move.PASS, frozenset({Role.CHECKS}))
                write_evidence(change.transaction, listing.name, listing.version, outcome.evidence)
        self._tell()

    def forget(self) -> int:
        """Drop what is older than it is kept; return how much was dropped."""

        def before(days: int | None) -> datetime | None:
            return None if days is None else self._clock() - timedelta(days=days)

        with self.catalogue.change() as change:
            return change.forget(
                events_before=before(self._limits.events_days),
                actions_before=before(self._limits.actions_days),
            )

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _roles(self, change: Change, action: Action, envelope: Envelope) -> frozenset[Role]:
        """Return as whom an action was signed.

        Raises:
            MarketplaceError: `forbidden` when as nobody.
        """
        who = action.platform or action.publisher
        roles: set[Role] = set()
        if any(envelope.is_of(_key(pem)) for pem in change.keys(who) or ()):
            roles.add(Role.PUBLISHER if action.platform is None else Role.PLATFORM)
        if action.platform is None and any(envelope.is_of(key) for key in self._operators):
            roles.add(Role.OPERATOR)
        if not roles:
            others = "" if action.platform is not None else " and by no operator"
            raise MarketplaceError(Problem.FORBIDDEN, f"the action is signed by no key of {who}{others}")
        return frozenset(roles)

    def _rate(self, change: Change, action: Action) -> None:
        assert action.version is not None and action.platform is not None and action.stars is not None
        name, at = f"{action.publisher}/{action.agent}", moment(self._clock())
        rated = change.version(name, action.version)
        if rated is None or rated.state not in EVER_PUBLIC:
            _nothing(f"{name} {action.version}")
        change.rate(
            name,
            Rating(
                platform=action.platform,
                stars=action.stars,
                version=action.version,
                at=at,
                comment=action.reason or "",
            ),
        )
        change.tell(_event(action.kind, at, rated))

    def _change_keys(self, change: Change, action: Action, roles: frozenset[Role]) -> None:
        pem = public_pem(_key(action.key or "")).decode()
        if action.kind == "register":
            if Role.OPERATOR not in roles:
                raise MarketplaceError(Problem.FORBIDDEN, "operators register publishers")
            change.add_publisher(action.publisher)
        elif change.keys(action.publisher) is None:
            _nothing(action.publisher)
        if action.kind != "remove_key":
            change.add_key(action.publisher, pem)
        elif not change.remove_key(action.publisher, pem):
            raise MarketplaceError(Problem.NOT_FOUND, f"{action.publisher} has no such key")
        change.tell(Event(cursor=0, at=moment(self._clock()), kind=action.kind, publisher=action.publisher))

    def _move(self, change: Change, action: Action, roles: frozenset[Role]) -> None:
        assert action.agent is not None and action.version is not None  # as its kind says
        move = Move(action.kind)
        name = f"{action.publisher}/{action.agent}"
        there = change.version(name, action.version)
        if move is Move.SUBMIT:
            reference, digest = self._submitted(action)
            listing = Listing(
                name=name,
                version=action.version,
                state=State.CHECKS if there is None else there.state,
                digest=digest,
                reference=reference,
            )
        elif there is None:
            listing = _nothing(f"{name} {action.version}")
        else:
            listing = there
        listing = replace(listing, reason=action.reason, replacement=action.replacement)
        self._write(change, listing, move, roles, is_new=there is None)
        if move is Move.SUBMIT:
            self._limit(change, action.publisher)

    def _limit(self, change: Change, publisher: str) -> None:
        """Refuse the submission of this change when it is one more than a publisher may have."""
        limits, day = self._limits, moment(self._clock() - timedelta(days=1))
        if change.submitted_since(publisher, day) > limits.submissions_a_day:
            raise MarketplaceError(
                Problem.LIMIT,
                f"{publisher} has submitted {limits.submissions_a_day} times within a day: go on tomorrow",
            )
        if change.open_submissions(publisher) > limits.open_submissions:
            raise MarketplaceError(
                Problem.LIMIT,
                f"{publisher} has {limits.open_submissions} versions that wait for checks or review: wait for one",
            )

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
        change.tell(_event(move, at, replace(listing, state=after)))


def _event(kind: str, at: str, listing: Listing) -> Event:
    publisher, _, agent = listing.name.partition("/")
    return Event(
        cursor=0,
        at=at,
        kind=kind,
        publisher=publisher,
        agent=agent,
        version=listing.version,
        state=listing.state,
        digest=listing.digest,
    )


def _name(text: str) -> str:
    try:
        return str(parse_name(text))
    except BundleRefused as error:
        raise MarketplaceError(Problem.MALFORMED, error.message) from error


def _key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise MarketplaceError(Problem.MALFORMED, "key: is no public key as PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MarketplaceError(Problem.MALFORMED, "key: is no key of P-256")
    return key


def _signed_by(envelope: Envelope, keys: tuple[str, ...] | None) -> bool:
    return any(envelope.is_of(_key(pem)) for pem in keys or ())


def _nothing(what: str) -> NoReturn:
    raise MarketplaceError(Problem.NOT_FOUND, f"there is no {what!r:.120} here")
