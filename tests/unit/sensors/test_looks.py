"""Whatever is cut off, away, lost or withdrawn between looks: each publish is asked for under its one key."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import dagster as dg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.publishes import Look, Publish
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registry_errors import RegistryDenied, RegistryUnavailable
from orchestrator_marketplace.strict_yaml import parse_yaml
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.messages import Approval
from orchestrator_sensors.bundle_sources import BundleSource, InstalledBundle
from orchestrator_sensors.catalogue import Catalogued, told_by
from orchestrator_sensors.publish_sensors import (
    LONGEST_WAIT_SECONDS,
    PATIENCE_SECONDS,
    TAKING_SECONDS,
    Seen,
    Tick,
    read_cursor,
    tick,
    written_cursor,
)
from tests.unit.marketplace.written_bundles import MANIFEST
from tests.unit.sensors.test_chosen_references import SOURCE, at

Verdict = Literal["waiting", "approved", "rejected"]
KEY = dg.AssetKey(["bundles", "acme", "reviewer"])
READ = parse_yaml(Manifest, MANIFEST.encode(), "bundle.yaml")
HERE = InstalledBundle(manifest=READ, code=Bundle(digest="d", archive=b""), publisher="acme")


@dataclass
class World:
    """Publishes, and what of them can be had; the clock stands still unless it is moved.

    Attributes:
        there: Versions that are published.
        withdrawn: Versions that were, and are not any more.
        lost: Versions whose bytes the registry has not.
        away: Whether the registry answers nothing.
        seconds: How long a fetch takes.
        decisions: What a person decided, by version; None where nobody is asked.
    """

    there: list[str] = field(default_factory=list[str])
    withdrawn: list[str] = field(default_factory=list[str])
    lost: set[str] = field(default_factory=set[str])
    refused: set[str] = field(default_factory=set[str])
    away: bool = False
    seconds: float = 0.0
    now: float = 1e9
    decisions: dict[str, Verdict] | None = None

    def ask(self, publish: Publish, here: InstalledBundle) -> Approval:
        assert here == HERE and self.decisions is not None
        verdict = self.decisions.get(publish.version, "waiting")
        return Approval(id=f"id-{publish.version}", state=verdict, reason="too new")

    def look(self, seen: Mapping[str, str] | None) -> Look:
        known = seen or {}
        new = [version for version in self.there if version not in known][:20]
        return Look(
            publishes=tuple(Publish(reference=parse_reference(at(version))) for version in new),
            withdrawn=tuple(version for version in self.withdrawn if version in known),
        )

    def source(self) -> BundleSource:
        world = self

        class Source(BundleSource):
            def installed(self, reference: Reference, *, seconds: float = 0.0) -> InstalledBundle:
                assert seconds == TAKING_SECONDS, "a look ends before Dagster gives it up"
                world.now += world.seconds
                if world.away:
                    raise RegistryUnavailable("away")
                if reference.tag in world.lost:
                    raise RegistryDenied("a part is not there")
                if reference.tag in world.refused:
                    raise BundleRefused(Refusal.UNSIGNED, f"{reference.tag} is of nobody")
                return HERE

        return Source(
            name=SOURCE.name,
            place=SOURCE.place,
            trust=SOURCE.trust,
            versions=SOURCE.versions,
            framework=SOURCE.framework,
            inputs=SOURCE.inputs,
            approval=self.decisions is not None,
        )


class Sensor:
    """What Dagster keeps of a sensor: its cursor, the newest materialization of the catalogue, runs by their key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cursor: str | None = written_cursor(Seen())
        self.known = Catalogued(taken={})
        self.asked = dict[str, int]()

    def look(self, *, events: bool = True, rest: bool = True) -> Tick:
        """Look; `events` and `rest` say whether Dagster came to store the events, and then requests and cursor."""
        world = self.world
        done = tick(
            world.source(),
            world,
            KEY,
            read_cursor(self.cursor),
            self.known,
            clock=lambda: world.now,
            ask=None if world.decisions is None else world.ask,
        )
        if events:
            for event in done.events:
                if isinstance(event, dg.AssetMaterialization):
                    self.known = told_by(event)
        if events and rest:
            for publish in done.publishes:
                self.asked.setdefault(publish.version, len(self.asked))
            self.cursor = written_cursor(done.seen) if done.seen is not None else None
        return done


class Storm(RuleBasedStateMachine):
    """Publishes, kills, outages and withdrawals in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.sensor = Sensor(self.world)
        self.published = 0

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.published += 1
            self.world.there.append(f"1.{self.published}.0")

    @rule(number=st.integers(0, 50))
    def withdraw(self, number: int) -> None:
        if self.world.there:
            version = self.world.there.pop(number % len(self.world.there))
            self.world.withdrawn.append(version)

    @rule(number=st.integers(0, 50))
    def lose(self, number: int) -> None:
        if self.world.there:
            self.world.lost.add(self.world.there[number % len(self.world.there)])

    @rule(away=st.booleans())
    def outage(self, away: bool) -> None:
        self.world.away = away

    @rule(seconds=st.sampled_from([1.0, 5.0, 60.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(events=st.booleans(), rest=st.booleans())
    def look(self, events: bool, rest: bool) -> None:
        self.sensor.look(events=events, rest=rest)

    @invariant()
    def nothing_is_asked_for_that_was_never_published(self) -> None:
        assert set(self.sensor.asked) <= {*self.world.there, *self.world.withdrawn}

    def teardown(self) -> None:
        """Everything comes back within a day: then every publish that stands was asked for, unless it was too long."""
        self.world.away = False
        self.world.lost.clear()
        for _ in range(self.published + 2):
            self.world.now += LONGEST_WAIT_SECONDS
            self.sensor.look()
        told = {version for version in self.world.there if version in self.sensor.asked}
        given_up = {*self.world.there} - told
        assert not given_up or self.world.now - 1e9 > PATIENCE_SECONDS, f"lost: {given_up}"


Storm.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestStorm = Storm.TestCase


def versions(done: Tick) -> list[str]:
    return [one.version for one in done.publishes]


def test_what_was_told_before_a_kill_is_asked_for_again_and_told_once() -> None:
    world = World(there=["1.2.0", "1.3.0"])
    sensor = Sensor(world)
    assert versions(sensor.look(rest=False)) == ["1.2.0", "1.3.0"], "the events are stored, then it is killed"
    again = sensor.look()
    assert versions(again) == ["1.2.0", "1.3.0"] and again.events == () and again.refused == ()


def test_a_publish_whose_bytes_are_lost_keeps_no_other_waiting() -> None:
    world = World(there=["1.2.0", "1.3.0"], lost={"1.2.0"})
    sensor = Sensor(world)
    done = sensor.look()
    assert (
        versions(done) == ["1.3.0"] and "1.2.0 is tried again in 5 s: a part is not there" in done.waiting[0]
    )
    assert sensor.look() == replace(sensor.look(), waiting=()), "its time has not come"
    world.now += 5
    assert "tried again in 10 s" in sensor.look().waiting[0]
    world.lost.clear()
    world.now += 10
    assert versions(sensor.look()) == ["1.2.0"], "it was there first, and is no roll back"
    assert sensor.known.newest == "1.3.0"


def test_a_publish_that_stays_lost_is_given_up_and_told_once() -> None:
    world = World(there=["1.2.0"], lost={"1.2.0"})
    sensor = Sensor(world)
    sensor.look()
    world.now += PATIENCE_SECONDS + 1
    assert "could not be had for 24 hours, and is given up: a part is not there" in sensor.look().refused[0]
    assert sensor.look().refused == () and versions(sensor.look()) == []


def test_a_registry_that_is_away_is_asked_ever_more_seldom_and_once_a_look() -> None:
    world = World(there=[f"1.{number}.0" for number in range(5)], away=True)
    sensor = Sensor(world)
    for _ in range(3):
        assert len(sensor.look().waiting) == 1
    world.away = False
    world.now += 3600
    assert versions(sensor.look()) == world.there, "in their order"


def test_a_look_ends_before_dagster_gives_it_up() -> None:
    world = World(there=[f"1.{number}.0" for number in range(9)], seconds=TAKING_SECONDS / 3)
    sensor = Sensor(world)
    first = sensor.look()
    assert versions(first) == world.there[:4] and "the look took 30 s" in first.waiting[0]
    assert versions(sensor.look()) == world.there[4:8]


def test_what_is_withdrawn_while_it_is_late_is_tried_no_more() -> None:
    world = World(there=["1.2.0"], lost={"1.2.0"})
    sensor = Sensor(world)
    sensor.look()
    world.withdrawn, world.there = ["1.2.0"], []
    world.lost.clear()
    world.now += 60
    assert versions(sensor.look()) == [] and sensor.look().waiting == ()


def test_what_is_refused_is_told_once_and_the_next_is_taken() -> None:
    world = World(there=["1.2.0", "1.3.0"], refused={"1.2.0"})
    sensor = Sensor(world)
    done = sensor.look()
    assert versions(done) == ["1.3.0"] and done.refused == ("unsigned: 1.2.0 is of nobody",)
    assert sensor.look().refused == ()


def test_a_publish_waits_for_a_person_and_keeps_no_other_waiting() -> None:
    world = World(there=["1.2.0", "1.3.0"], decisions={"1.3.0": "approved"})
    sensor = Sensor(world)
    done = sensor.look()
    assert versions(done) == ["1.3.0"]
    assert done.waiting == ("acme/reviewer 1.2.0 waits for the approval id-1.2.0",)
    (asked,) = [event for event in done.events if isinstance(event, dg.AssetObservation)]
    assert asked.metadata["approve"].value == "orchestrator approvals approve id-1.2.0"
    world.now += 2 * PATIENCE_SECONDS
    again = sensor.look()
    assert again.events == () and len(again.waiting) == 1, (
        "it is told once, and waits for as long as it takes"
    )
    assert world.decisions is not None
    world.decisions["1.2.0"] = "approved"
    assert versions(sensor.look()) == ["1.2.0"] and versions(sensor.look()) == []


def test_what_a_person_declined_stays_declined() -> None:
    world = World(there=["1.2.0"], decisions={"1.2.0": "rejected"})
    sensor = Sensor(world)
    assert sensor.look().refused == ("policy: acme/reviewer 1.2.0 was declined: too new",)
    world.decisions = {"1.2.0": "approved"}
    assert versions(sensor.look()) == [] and "1.2.0" not in sensor.known.taken


def test_an_outage_after_a_long_wait_for_a_person_is_no_end() -> None:
    world = World(there=["1.2.0"], decisions={})
    sensor = Sensor(world)
    sensor.look()
    world.now += 2 * PATIENCE_SECONDS
    sensor.look()
    world.away = True
    assert "is tried again" in sensor.look().waiting[0]
    world.away, world.decisions = False, {"1.2.0": "approved"}
    world.now += 60
    assert versions(sensor.look()) == ["1.2.0"]


def test_where_nobody_can_be_asked_nothing_is_taken() -> None:
    world = World(there=["1.2.0"], decisions={})
    source = world.source()
    done = tick(source, world, KEY, Seen(), Catalogued(taken={}), clock=lambda: world.now)
    assert done.refused == ("policy: acme/reviewer 1.2.0 needs a person's approval, and nobody can be asked",)
