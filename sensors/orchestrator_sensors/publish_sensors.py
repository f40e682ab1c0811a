"""A publish becomes a run: exactly one, whatever is told twice, comes late or is cut off.

Laws: a run is named by its publish (`run_key`), so one that is asked for again is not made again. The cursor is stored
with the run requests of the same tick, after them; what the catalogue was told before that is told again to nobody, and
its run is asked for again. A publish that is refused is told once, with its reason; one that cannot be had is asked for
again, ever more seldom, and no other waits for it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import dagster as dg

from orchestrator_marketplace.names import parse_version
from orchestrator_marketplace.publishes import Look, Publish, Publishes
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registry_errors import RegistryDenied
from orchestrator_resources.approvals import Asker
from orchestrator_resources.instance_state import open_instance_state
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.json_values import NotJson, dump, parse
from orchestrator_runtimes.messages import Approval, ApprovalAsk
from orchestrator_sensors.bundle_sources import BundleSource, InstalledBundle
from orchestrator_sensors.catalogue import (
    Catalogued,
    asked_about,
    asking_event,
    catalogue_key,
    catalogued,
    taken_event,
    withdrawn_event,
)
from orchestrator_sensors.published_agents import BUNDLE_TAG

LOOK_SECONDS: Final = 1
"""Least time between two looks. Dagster's daemon looks every five seconds; one that an event wakes, at once."""

TAKING_SECONDS: Final = 30.0
"""After which a look takes nothing further: Dagster gives it up after 60."""

FIRST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 600.0
"""Between two tries of a publish that cannot be had; each wait is twice the one before."""

PATIENCE_SECONDS: Final = 24 * 3600.0
"""How long one is tried."""


@dataclass(frozen=True, kw_only=True)
class Late:
    """A publish that could not be had yet.

    Attributes:
        publish: Reference of it, with its digest.
        tries: How often it was tried.
        since: When first; Unix time in seconds.
        until: When next; Unix time in seconds.
    """

    publish: str
    tries: int
    since: float
    until: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A sensor's cursor.

    Attributes:
        versions: Digest of each version that was seen, taken or refused.
        late: Those that are tried again, by version.
    """

    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    late: Mapping[str, Late] = field(default_factory=dict[str, Late])


Ask: TypeAlias = Callable[[Publish, InstalledBundle], Approval]
"""Says what a person decided about a publish; what is asked for the first time waits from then on."""


def read_cursor(text: str | None) -> Seen | None:
    """Return what a cursor says; None before the first look, and where somebody wrote something else there."""
    try:
        return None if text is None else decode(Seen, parse(text.encode()), "", strict=True)
    except (NotJson, InvalidMessage, UnicodeEncodeError):
        return None


def written_cursor(seen: Seen) -> str:
    """Return what `read_cursor` reads."""
    return dump(encode(seen)).decode()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What one look comes to.

    Attributes:
        seen: What is seen now; None where nothing could be, so that the next look is the first.
        publishes: Those that were taken, in their order.
        events: What the catalogue is told.
        refused: Why others were not taken, a line each.
        waiting: What is tried again, and why; a line each.
    """

    seen: Seen | None
    publishes: tuple[Publish, ...] = ()
    events: tuple[dg.AssetMaterialization | dg.AssetObservation, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def tick(
    source: BundleSource,
    publishes: Publishes,
    key: dg.AssetKey,
    seen: Seen | None,
    known: Catalogued,
    clock: Callable[[], float] = time.time,
    ask: Ask | None = None,
) -> Tick:
    """Look once, and take what may be taken.

    Args:
        source: Of the asset.
        publishes: Where they are learned.
        key: Of the bundle's asset.
        seen: What was seen; None at the first look, which takes the newest version alone.
        known: What was taken.
        clock: Unix time in seconds.
        ask: Asks a person about a publish, where the source wants that; None where there is nobody to ask.
    """
    try:
        look = publishes.look(None if seen is None else {**dict.fromkeys(seen.late, ""), **seen.versions})
    except AgentError as error:
        return Tick(seen=seen, waiting=(error.message,))
    taking = _Taking(source, key, seen, known, clock, ask)
    taking.pass_over(look.older)
    taking.withdraw(look.withdrawn)
    wanted = _wanted(source, look, first=seen is None)
    for publish in [*taking.due(), *look.publishes]:
        if publish in look.publishes and publish not in wanted:
            taking.pass_over([publish.version], publish.digest)
        elif not taking.take(publish):
            # what comes after it is as new to the next look; a first look takes one, and is not over without it
            if seen is None and not taking.publishes:
                return Tick(seen=None, events=tuple(taking.events), waiting=tuple(taking.waiting))
            break
    return taking.done()


def _wanted(source: BundleSource, look: Look, *, first: bool) -> list[Publish]:
    """Return the publishes that are for the asset; at the first look the newest alone, since the others are history."""
    allowed = [publish for publish in look.publishes if source.allows(publish.version)]
    return allowed[-1:] if first else allowed


class _Waits(Exception):
    """Nobody has decided yet."""

    def __init__(self, approval: str, here: InstalledBundle) -> None:
        super().__init__(approval)
        self.approval, self.here = approval, here


class _Taking:
    """One look, while it takes what it found."""

    def __init__(
        self,
        source: BundleSource,
        key: dg.AssetKey,
        seen: Seen | None,
        known: Catalogued,
        clock: Callable[[], float],
        ask: Ask | None,
    ) -> None:
        self._source, self._key, self._known, self._clock = source, key, known, clock
        self._ask = ask
        here = known.taken if seen is None else known.taken.keys() & seen.versions
        # of looks that ended: one that was killed may have told of a version, and not of one below it that is late
        self._newest = max(here, key=parse_version, default=None)
        self._versions = {} if seen is None else dict(seen.versions)
        self._late = {} if seen is None else dict(seen.late)
        self._until = clock() + TAKING_SECONDS
        self.publishes: list[Publish] = []
        self.events: list[dg.AssetMaterialization | dg.AssetObservation] = []
        self.refused: list[str] = []
        self.waiting: list[str] = []

    def done(self) -> Tick:
        return Tick(
            seen=Seen(versions=self._versions, late=self._late),
            publishes=tuple(self.publishes),
            events=tuple(self.events),
            refused=tuple(self.refused),
            waiting=tuple(self.waiting),
        )

    def pass_over(self, versions: Sequence[str], digest: str = "") -> None:
        self._versions.update(dict.fromkeys(versions, digest))

    def withdraw(self, versions: Sequence[str]) -> None:
        for version in versions:
            if self._late.pop(version, None) is not None:
                self._versions[version] = ""
        known = self._known
        gone = [version for version in versions if version in known.taken and version not in known.withdrawn]
        if gone:
            self._known, event = withdrawn_event(self._key, known, gone)
            self.events.append(event)

    def due(self) -> list[Publish]:
        """Return the late ones whose turn it is, the lowest first."""
        now = self._clock()
        return [
            Publish(reference=parse_reference(late.publish))
            for _, late in sorted(self._late.items(), key=lambda one: parse_version(one[0]))
            if late.until <= now
        ]

    def take(self, publish: Publish) -> bool:
        """Take a publish, refuse it, or put it off; tell whether the look goes on."""
        if self._clock() > self._until:
            self.waiting.append(
                f"{publish.version} and what is above it: the look took {TAKING_SECONDS:.0f} s"
            )
            return False
        going_on = True
        try:
            self._take(publish)
        except _Waits as waits:
            self._wait(publish, waits)
            return True
        except BundleRefused as error:
            self.refused.append(error.message)
        except AgentError as error:
            if self._put_off(publish, error):
                # one that is not there keeps nobody waiting; where the registry is away, all are
                return isinstance(error, RegistryDenied)
            going_on = isinstance(error, RegistryDenied)
        else:
            self.publishes.append(publish)
        self._late.pop(publish.version, None)
        self._versions[publish.version] = publish.digest
        return going_on

    def _take(self, publish: Publish) -> None:
        known, source = self._known, self._source
        # told before a daemon ended that had not stored the run requests yet
        if known.taken.get(publish.version) == str(publish.reference):
            return
        newest = self._newest
        lower = newest is not None and parse_version(publish.version) < parse_version(newest)
        if lower and publish.version not in self._late:
            raise BundleRefused(
                Refusal.ROLLED_BACK, f"{source.name} {publish.version} is lower than {newest}, which was here"
            )
        here = source.installed(publish.reference, seconds=TAKING_SECONDS)
        if source.asks():
            self._decided(publish, here)
        self._known, event = taken_event(self._key, known, publish, here.manifest, here.publisher)
        self.events.append(event)

    def _decided(self, publish: Publish, here: InstalledBundle) -> None:
        what = f"{self._source.name} {publish.version}"
        if self._ask is None:
            raise BundleRefused(Refusal.POLICY, f"{what} needs a person's approval, and nobody can be asked")
        answer = self._ask(publish, here)
        if answer.state == "waiting":
            raise _Waits(answer.id, here)
        if answer.state == "rejected":
            why = f": {answer.reason}" if answer.reason else ""
            raise BundleRefused(Refusal.POLICY, f"{what} was declined{why}")

    def _wait(self, publish: Publish, waits: "_Waits") -> None:
        """Look again at the next look whether a person has decided; the request itself ends when nobody does."""
        now = self._clock()
        if publish.version not in self._late:
            here = waits.here
            self.events.append(
                asking_event(self._key, publish, here.manifest, here.publisher, waits.approval)
            )
        self._late[publish.version] = Late(publish=str(publish.reference), tries=0, since=now, until=now)
        self.waiting.append(f"{self._source.name} {publish.version} waits for the approval {waits.approval}")

    def _put_off(self, publish: Publish, error: AgentError) -> bool:
        """Note that a publish is tried later; False when that was tried for too long, which is told as a refusal."""
        now = self._clock()
        before = self._late.get(publish.version)
        since, tries = (now, 1) if before is None else (before.since, before.tries + 1)
        if now - since > PATIENCE_SECONDS:
            hours = PATIENCE_SECONDS / 3600
            self.refused.append(
                f"{self._source.name} {publish.version} could not be had for {hours:.0f} hours, and is given up:"
                f" {error.message}"
            )
            return False
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(tries - 1, 20), LONGEST_WAIT_SECONDS)
        self._late[publish.version] = Late(
            publish=str(publish.reference), tries=tries, since=since, until=now + wait
        )
        self.waiting.append(
            f"{self._source.name} {publish.version} is tried again in {wait:.0f} s: {error.message}"
        )
        return True


def publish_sensor(
    name: str, source: BundleSource, publishes: Publishes, asset: dg.AssetKey, *, approval_seconds: float
) -> dg.SensorDefinition:
    """Make the sensor of a published asset.

    Args:
        name: Of the sensor.
        source: Of the asset.
        publishes: Where they are learned.
        asset: Key of the asset, which is run for each publish.
        approval_seconds: How long a publish waits for a person, where one decides, before it counts as declined.
    """
    key = catalogue_key(source.name, asset)

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
        name=name,
        target=dg.AssetSelection.assets(asset),
        minimum_interval_seconds=LOOK_SECONDS,
        description=f"Runs {asset.to_user_string()} for each publish of {source.name} at {source.place}.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        def ask(publish: Publish, here: InstalledBundle) -> Approval:
            question = ApprovalAsk(
                execution=f"publish {asset.to_user_string()} {publish.id}",
                step="publish",
                occurrence=0,
                tool=f"{source.name} {publish.version}",
                arguments=asked_about(publish, here.manifest, here.publisher),
            )
            asker = Asker(
                asset=asset.to_user_string(),
                partition=None,
                item=f"{source.name} {publish.version}",
                run=f"publish {publish.id}",
                seconds=approval_seconds,
            )
            with open_instance_state(context.instance) as state:
                return state.approvals.ask(question, asker)

        known = catalogued(context.instance, key)
        done = tick(source, publishes, key, read_cursor(context.cursor), known, ask=ask)
        for line in done.refused:
            context.log.warning(f"not taken: {line}")
        for line in done.waiting:
            context.log.warning(f"later: {line}")
        told = "; ".join([*done.refused, *done.waiting])
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{asset.to_user_string()} {publish.id}",
                    asset_selection=[asset],
                    tags={BUNDLE_TAG: str(publish.reference)},
                )
                for publish in done.publishes
            ],
            skip_reason=None if done.publishes else dg.SkipReason(told or "nothing new is published"),
            asset_events=done.events,
            cursor=None if done.seen is None else written_cursor(done.seen),
        )

    return look
