"""What every marketplace does, as tests: subclass `MarketplaceConformance` and say how yours is reached.

A subject offers one marketplace with an operator's key, a store into which signed bundles can be put, and a way to let
the marketplace's own checks run. `pytest` brings the rest.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import WINDOW, moment, new_id, seal_action
from orchestrator_marketplace.conformance.subjects import Subject
from orchestrator_marketplace.conformance.usage_suite import UsageConformance
from orchestrator_marketplace.marketplaces import (
    Event,
    Events,
    MarketplaceError,
    Problem,
    Query,
    RatingSummary,
)
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.workflow import State

NOWHERE: Final = f"registry.elsewhere.example/acme/reviewer@sha256:{'0' * 64}"


class MarketplaceConformance(UsageConformance):
    """Override `subject` by a fixture that yields a `Subject`."""

    def test_a_version_goes_its_way(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """Submitted, checked, reviewed, published, deprecated, withdrawn; each is an event."""
        self.register(subject, key)
        address = subject.store("acme/reviewer", "1.0.0", key)
        of = {"agent": "reviewer", "version": "1.0.0"}
        submitted = self.act(subject, key, "submit", **of, reference=address)
        assert submitted is not None
        assert (submitted.state, submitted.digest) == (State.CHECKS, address.partition("@")[2])
        assert subject.marketplace.search(Query()).listings == ()
        subject.check()
        reviewed = subject.marketplace.version("acme/reviewer", "1.0.0")
        assert reviewed.state is State.REVIEW and reviewed.findings
        assert reviewed.manifest["name"] == "acme/reviewer" and reviewed.documentation
        with pytest.raises(MarketplaceError):
            subject.marketplace.versions("acme/reviewer")
        published = self.act(subject, subject.operator, "approve", **of)
        assert published is not None and published.state is State.PUBLISHED
        assert subject.marketplace.search(Query()).listings == (published,)
        deprecated = self.act(subject, key, "deprecate", **of, reason="old", replacement="acme/other")
        assert deprecated is not None
        assert (deprecated.state, deprecated.reason, deprecated.replacement) == (
            State.DEPRECATED,
            "old",
            "acme/other",
        )
        assert [one.state for one in subject.marketplace.versions("acme/reviewer")] == [State.DEPRECATED]
        withdrawn = self.act(subject, key, "withdraw", **of, reason="wrong")
        assert withdrawn is not None and withdrawn.state is State.WITHDRAWN
        assert subject.marketplace.search(Query()).listings == ()
        kinds = [event.kind for event in subject.marketplace.events(0).events]
        assert kinds == ["register", "submit", "pass", "approve", "deprecate", "withdraw"]

    def test_what_the_checks_refuse_is_a_draft_with_a_reason(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """A bundle that somebody else signed comes back, and may be submitted again."""
        self.register(subject, key)
        stranger = ec.generate_private_key(ec.SECP256R1())
        of = {"agent": "reviewer", "version": "1.0.0"}
        address = subject.store("acme/reviewer", "1.0.0", stranger)
        self.act(subject, key, "submit", **of, reference=address)
        subject.check()
        draft = subject.marketplace.version("acme/reviewer", "1.0.0")
        assert draft.state is State.DRAFT and "unsigned" in (draft.reason or "")
        assert self.problem(subject, subject.operator, "approve", **of) is Problem.CONFLICT
        address = subject.store("acme/reviewer", "1.0.0", key, summary="Again")
        self.act(subject, key, "submit", **of, reference=address)
        subject.check()
        assert subject.marketplace.version("acme/reviewer", "1.0.0").state is State.REVIEW
        rejected = self.act(subject, subject.operator, "reject", **of, reason="say more")
        assert rejected is not None and (rejected.state, rejected.reason) == (State.DRAFT, "say more")

    def test_a_bundle_is_what_it_was_submitted_as(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """Another name or version than the bundle's own comes back."""
        self.register(subject, key)
        address = subject.store("acme/reviewer", "1.0.0", key)
        for agent, version in (("other", "1.0.0"), ("reviewer", "2.0.0")):
            self.act(subject, key, "submit", agent=agent, version=version, reference=address)
            subject.check()
            draft = subject.marketplace.version(f"acme/{agent}", version)
            assert draft.state is State.DRAFT and "squatted" in (draft.reason or "")

    def test_only_who_may_does(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """Strangers nothing, publishers their own, operators what is theirs."""
        other = ec.generate_private_key(ec.SECP256R1())
        pem = public_pem(other.public_key()).decode()
        of = {"agent": "reviewer", "version": "1.0.0"}
        assert self.problem(subject, key, "register", "acme", key=pem) is Problem.FORBIDDEN
        self.register(subject, key)
        self.register(subject, other, "globex")
        address = subject.store("acme/reviewer", "1.0.0", key)
        for who in (other, subject.operator):
            assert self.problem(subject, who, "submit", **of, reference=address) is Problem.FORBIDDEN
        assert self.problem(subject, other, "add_key", "acme", key=pem) is Problem.FORBIDDEN
        self.act(subject, key, "submit", **of, reference=address)
        subject.check()
        for who in (key, other):
            assert self.problem(subject, who, "approve", **of) is Problem.FORBIDDEN
        self.act(subject, subject.operator, "approve", **of)
        assert self.problem(subject, other, "withdraw", **of) is Problem.FORBIDDEN
        assert self.problem(subject, subject.operator, "deprecate", **of) is Problem.FORBIDDEN
        self.act(subject, subject.operator, "withdraw", **of)

    def test_a_version_is_used_up(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """What was public never has other bytes, withdrawn or not."""
        self.register(subject, key)
        self.publish(subject, key, "1.0.0")
        of = {"agent": "reviewer", "version": "1.0.0"}
        address = subject.store("acme/reviewer", "1.0.0", key, summary="Other")
        assert self.problem(subject, key, "submit", **of, reference=address) is Problem.CONFLICT
        self.act(subject, key, "withdraw", **of)
        assert self.problem(subject, key, "submit", **of, reference=address) is Problem.CONFLICT

    def test_names_that_look_alike_are_one(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """A publisher cannot be mistaken for another."""
        self.register(subject, key)
        pem = public_pem(key.public_key()).decode()
        for name in ("acme", "acrne", "ac-me"):
            assert self.problem(subject, subject.operator, "register", name, key=pem) is Problem.CONFLICT

    def test_keys_come_and_go(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """A publisher replaces its key; the former one does nothing more."""
        self.register(subject, key)
        new = ec.generate_private_key(ec.SECP256R1())
        old_pem, new_pem = (public_pem(one.public_key()).decode() for one in (key, new))
        self.act(subject, key, "add_key", key=new_pem)
        assert subject.marketplace.publisher("acme").keys == tuple(sorted((old_pem, new_pem)))
        self.act(subject, new, "remove_key", key=old_pem)
        assert subject.marketplace.publisher("acme").keys == (new_pem,)
        assert self.problem(subject, key, "add_key", key=old_pem) is Problem.FORBIDDEN
        assert self.problem(subject, new, "remove_key", key=old_pem) is Problem.NOT_FOUND
        self.publish(subject, new, "1.0.0")

    def test_an_action_is_done_once_at_one_marketplace_at_its_time(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """Sent twice, it is done once; kept, changed or sent elsewhere, it is not done."""
        self.register(subject, key)
        address = subject.store("acme/reviewer", "1.0.0", key)
        action = self.action(subject, "submit", agent="reviewer", version="1.0.0", reference=address)
        sealed = seal_action(action, key)
        assert subject.marketplace.act(sealed) == subject.marketplace.act(sealed)
        assert len(subject.marketplace.events(0).events) == 2
        late = moment(datetime.now(UTC) - WINDOW - timedelta(minutes=1))
        for wrong in (
            replace(action, id=new_id(), marketplace="other"),
            replace(action, id=new_id(), at=late),
        ):
            with pytest.raises(MarketplaceError) as refused:
                subject.marketplace.act(seal_action(wrong, key))
            assert refused.value.problem is Problem.MALFORMED
        with pytest.raises(MarketplaceError) as refused:
            subject.marketplace.act(b"{}")
        assert refused.value.problem is Problem.MALFORMED

    def test_bundles_are_taken_from_known_registries(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """A marketplace does not go wherever a publisher sends it."""
        self.register(subject, key)
        of = {"agent": "reviewer", "version": "1.0.0"}
        assert self.problem(subject, key, "submit", **of, reference=NOWHERE) is Problem.FORBIDDEN
        unpinned = subject.store("acme/reviewer", "1.0.0", key).partition("@")[0]
        assert self.problem(subject, key, "submit", **of, reference=unpinned) is Problem.MALFORMED

    def test_searching_finds_by_words_and_facts_in_pages(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """Each agent once, in its highest version, by name."""
        self.register(subject, key)
        for number in range(3):
            self.publish(subject, key, "1.0.0", f"acme/agent{number}", summary=f"Counts to {number} %")
        self.publish(subject, key, "1.10.0", "acme/agent1", summary="Counts to 1 %")
        self.publish(subject, key, "1.9.0", "acme/agent1", summary="Counts to 1 %")
        search = subject.marketplace.search
        assert [one.version for one in search(Query(text="AGENT1 counts")).listings] == ["1.10.0"]
        assert [one.version for one in subject.marketplace.versions("acme/agent1")] == [
            "1.10.0",
            "1.9.0",
            "1.0.0",
        ]
        assert search(Query(text="agent_")).listings == () and len(search(Query(text="%")).listings) == 3
        first = search(Query(limit=2))
        assert [one.name for one in first.listings] == [
            "acme/agent0",
            "acme/agent1",
        ] and first.after == "acme/agent1"
        second = search(Query(limit=2, after=first.after))
        assert [one.name for one in second.listings] == ["acme/agent2"] and second.after is None
        framework = str(first.listings[0].manifest["framework"])
        assert len(search(Query(framework=framework, licence="Apache-2.0", publisher="acme")).listings) == 3
        for nothing in (
            Query(framework="none"),
            Query(licence="MIT"),
            Query(publisher="globex"),
            Query(text="x y z"),
        ):
            assert search(nothing).listings == ()

    def test_prices_and_terms_are_listed(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """As the bundle's manifest has them, which its publisher signed."""
        self.register(subject, key)
        pricing = {"currency": "EUR", "per_call": "0.002", "per_month": "10"}
        self.publish(subject, key, "1.0.0", pricing=pricing, terms="No resale.\nNo warranty.")
        self.publish(subject, key, "1.0.0", "acme/free")
        free, paid = subject.marketplace.search(Query()).listings
        assert paid.manifest["pricing"] == pricing and paid.manifest["terms"] == "No resale.\nNo warranty."
        assert "pricing" not in free.manifest and "terms" not in free.manifest
        assert subject.marketplace.version("acme/reviewer", "1.0.0").manifest["pricing"] == pricing

    def test_platforms_rate_what_they_ran(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """One rating of each platform counts, its last; listings have the average of all."""
        self.register(subject, key)
        self.publish(subject, key, "1.0.0")
        platforms = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("alpha", "beta")}
        for name, own in platforms.items():
            self.register(subject, own, name)
        of = {"agent": "reviewer", "version": "1.0.0"}
        assert subject.marketplace.ratings("acme/reviewer").ratings == ()
        assert subject.marketplace.version("acme/reviewer", "1.0.0").rating is None
        alpha, beta = platforms.values()
        self.act(subject, alpha, "rate", **of, platform="alpha", stars=1, reason="slow")
        self.act(subject, beta, "rate", **of, platform="beta", stars=4)
        rated = self.act(subject, alpha, "rate", **of, platform="alpha", stars=5, reason="fast now")
        assert rated is not None and rated.rating == RatingSummary(average=4.5, count=2)
        (found,) = subject.marketplace.search(Query()).listings
        assert found.rating == rated.rating == subject.marketplace.versions("acme/reviewer")[0].rating
        first = subject.marketplace.ratings("acme/reviewer", limit=1)
        assert [(one.platform, one.stars, one.comment) for one in first.ratings] == [("alpha", 5, "fast now")]
        second = subject.marketplace.ratings("acme/reviewer", limit=1, after=first.after)
        assert [(one.platform, one.version) for one in second.ratings] == [("beta", "1.0.0")]
        assert second.after is None
        assert [event.kind for event in subject.marketplace.events(0).events].count("rate") == 3

    def test_who_rates_is_known_and_not_the_publisher(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """With a key of its own, and a version that was public."""
        self.register(subject, key)
        self.publish(subject, key, "1.0.0")
        alpha = ec.generate_private_key(ec.SECP256R1())
        self.register(subject, alpha, "alpha")
        of = {"agent": "reviewer", "version": "1.0.0", "stars": 5}
        for who in (key, subject.operator, ec.generate_private_key(ec.SECP256R1())):
            assert self.problem(subject, who, "rate", **of, platform="alpha") is Problem.FORBIDDEN
        assert self.problem(subject, alpha, "rate", **of, platform="beta") is Problem.FORBIDDEN
        none = {**of, "version": "2.0.0", "platform": "alpha"}
        assert self.problem(subject, alpha, "rate", **none) is Problem.NOT_FOUND
        address = subject.store("acme/reviewer", "2.0.0", key)
        self.act(subject, key, "submit", agent="reviewer", version="2.0.0", reference=address)
        assert self.problem(subject, alpha, "rate", **none) is Problem.NOT_FOUND
        assert subject.marketplace.ratings("acme/reviewer").ratings == ()

    def test_who_subscribes_is_shown_a_secret_once(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """And may look, resume and end; strangers may not."""
        self.register(subject, key)
        other = ec.generate_private_key(ec.SECP256R1())
        self.register(subject, other, "globex")
        market = subject.marketplace
        wanted = self.action(
            subject, "subscribe", url="https://hooks.example/a", events=("approve",), about="acme/reviewer"
        )
        made = market.subscribe(seal_action(wanted, key))
        assert made.secret is not None and made.secret.startswith("whsec_")
        assert (made.state, made.cursor, made.error) == ("active", market.events(0).cursor, None)
        shown = replace(made, secret=None)
        assert market.subscribe(seal_action(wanted, key)) == shown == market.subscription(made.id)
        with pytest.raises(MarketplaceError) as refused:
            market.act(seal_action(replace(wanted, id=new_id()), key))
        assert refused.value.problem is Problem.MALFORMED

        def refusal(who: ec.EllipticCurvePrivateKey, kind: str, publisher: str, **more: object) -> Problem:
            with pytest.raises(MarketplaceError) as refused:
                market.subscribe(seal_action(self.action(subject, kind, publisher, **more), who))
            return refused.value.problem

        assert refusal(other, "unsubscribe", "acme", subscription=made.id) is Problem.FORBIDDEN
        assert refusal(other, "unsubscribe", "globex", subscription=made.id) is Problem.NOT_FOUND
        assert refusal(key, "resume", "acme", subscription=made.id, after=10**6) is Problem.MALFORMED
        for url in (
            "http://hooks.example/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/",
        ):
            assert refusal(key, "subscribe", "acme", url=url) is Problem.FORBIDDEN
        resumed = self.action(subject, "resume", subscription=made.id, after=0)
        assert market.subscribe(seal_action(resumed, key)) == replace(shown, cursor=0)
        ended = seal_action(self.action(subject, "unsubscribe", subscription=made.id), key)
        assert market.subscribe(ended).state == "ended" == market.subscribe(ended).state
        with pytest.raises(MarketplaceError) as refused:
            market.subscription(made.id)
        assert refused.value.problem is Problem.NOT_FOUND

    def test_events_are_resumed_by_cursor(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """Page by page none is missed and none comes twice; whoever waits is told."""
        self.register(subject, key)
        for number in range(3):
            self.publish(subject, key, f"1.0.{number}")
        whole = subject.marketplace.events(0).events
        assert len(whole) == 10 and [one.cursor for one in whole] == sorted({one.cursor for one in whole})
        cursor = 0
        seen: list[Event] = []
        while (page := subject.marketplace.events(cursor, limit=3)).events:
            seen += page.events
            cursor = page.cursor
        assert tuple(seen) == whole and cursor == whole[-1].cursor
        found: list[Events] = []
        waiting = threading.Thread(
            target=lambda: found.append(subject.marketplace.events(cursor, wait_seconds=20.0))
        )
        waiting.start()
        self.act(subject, key, "withdraw", agent="reviewer", version="1.0.0")
        waiting.join(25)
        assert [event.kind for event in found[0].events] == ["withdraw"]
        assert subject.marketplace.events(found[0].cursor).events == ()

    def test_a_version_that_was_checked_has_evidence_and_a_history(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """Who signed it until when, what it is made of, and all that happened to its agent, which another's is none."""
        self.register(subject, key)
        listing = self.publish(subject, key, "1.0.0")
        self.publish(subject, key, "1.0.0", "acme/other")
        seen = subject.marketplace.evidence("acme/reviewer", "1.0.0")
        assert (seen.digest, seen.publisher) == (listing.digest, "acme")
        assert seen.signed is not None and seen.expires is not None and seen.signed < seen.expires
        assert "buildDefinition" in seen.provenance and seen.cases
        told = subject.marketplace.history("acme/reviewer")
        assert [(one.kind, one.agent, one.version) for one in told.events] == [
            (kind, "reviewer", "1.0.0") for kind in ("submit", "pass", "approve")
        ]
        assert told.cursor == told.events[-1].cursor
        assert subject.marketplace.history("acme/nobody").events == ()
        address = subject.store("acme/reviewer", "2.0.0", key)
        self.act(subject, key, "submit", agent="reviewer", version="2.0.0", reference=address)
        with pytest.raises(MarketplaceError) as refused:
            subject.marketplace.evidence("acme/reviewer", "2.0.0")
        assert refused.value.problem is Problem.NOT_FOUND

    @pytest.mark.parametrize("passes", [True, False])
    def test_what_a_publisher_signed_of_an_evaluation_is_evidence(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey, passes: bool
    ) -> None:
        """How many cases passed of how many, what the manifest wants, which failed; nothing where nothing is said."""
        self.register(subject, key)
        self.publish(subject, key, "1.0.0", evaluated=passes)
        self.publish(subject, key, "1.0.1")
        seen = subject.marketplace.evidence("acme/reviewer", "1.0.0")
        assert seen.evaluation is not None
        passed, cases = seen.evaluation.measures["passed"], len(seen.cases)
        assert (passed.met, passed.of) == (cases if passes else 0, cases)
        assert passed.wanted is not None and passed.reached is passes
        assert seen.evaluation.failed == (() if passes else seen.cases)
        assert subject.marketplace.evidence("acme/reviewer", "1.0.1").evaluation is None

    def test_what_is_not_there_is_not_found(self, subject: Subject) -> None:
        """Names that are none are malformed."""
        for read in (
            lambda: subject.marketplace.versions("acme/none"),
            lambda: subject.marketplace.version("acme/none", "1.0.0"),
            lambda: subject.marketplace.publisher("nobody"),
            lambda: subject.marketplace.ratings("acme/none"),
        ):
            with pytest.raises(MarketplaceError) as refused:
                read()
            assert refused.value.problem is Problem.NOT_FOUND
        with pytest.raises(MarketplaceError) as refused:
            subject.marketplace.versions("No/Name")
        assert refused.value.problem is Problem.MALFORMED
        assert (
            self.problem(subject, subject.operator, "approve", agent="none", version="1.0.0")
            is Problem.NOT_FOUND
        )
