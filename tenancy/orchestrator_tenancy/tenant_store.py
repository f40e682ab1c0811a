"""Organisations, plans and tenants in a database, changed as a whole: what is stored is always complete."""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_tenancy.control_databases import control_database
from orchestrator_tenancy.tenants import BadTenancy, Plan, Quotas, Tenancy, read_tenancy

FRESH_SECONDS: Final = 1.0
"""For how long what was read counts as what holds now: a suspended tenant starts nothing after it."""

PLANS: Final[Mapping[str, Plan]] = {
    "free": Plan(weight=1, quotas=Quotas(runs=2, queued_runs=50, executions=50, gpus=0)),
    "team": Plan(
        weight=4,
        custom_locations=True,
        quotas=Quotas(runs=20, queued_runs=2_000, executions=1_000, gpus=4),
    ),
    "enterprise": Plan(
        weight=16,
        custom_locations=True,
        quotas=Quotas(runs=200, queued_runs=20_000),
        nodes="dedicated",
        instance="own",
    ),
}
"""Those that are there before an operator says anything."""

Kind = Literal["organisations", "plans", "tenants"]
KINDS: Final[tuple[Kind, ...]] = ("organisations", "plans", "tenants")

_HOLDS: Final = "tenants"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS tenancy ("
    " one INTEGER PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL, written TEXT NOT NULL)",
)
"""One row, so that nobody reads half a change."""


@dataclass(frozen=True, kw_only=True, order=True)
class Change:
    """What a change did to one organisation, plan or tenant.

    Attributes:
        kind: What it is.
        name: Of it.
        what: What was done to it.
    """

    kind: Kind
    name: str
    what: Literal["created", "changed", "removed"]


class TenantStore:
    """A `TenantDirectory` that any number of processes read and change.

    Args:
        database: Where it is.
        clock: Seconds that only grow.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database takes no more or does not answer.
    """

    def __init__(self, database: StateDatabase, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the tables."""
        self._database = database
        self._clock = clock
        self._known: tuple[int, Tenancy] | None = None
        self._looked_at = float("-inf")
        database.prepare(_HOLDS, _TABLES)

    def tenancy(self) -> Tenancy:
        """Return what holds now, or held a second ago at most."""
        if self._known is None or self._clock() >= self._looked_at + FRESH_SECONDS:
            with self._database.transaction(_HOLDS) as reading:
                self._look(reading)
        assert self._known is not None
        return self._known[1]

    def would_change(self, edit: Callable[[dict[str, Any]], None]) -> list[Change]:
        """Return what `change` would make different."""
        before = self.tenancy()
        written = _written(before)
        edit(written)
        return differences(before, read_tenancy(written))

    def change(self, edit: Callable[[dict[str, Any]], None]) -> list[Change]:
        """Change what is stored, all of it or nothing, alone.

        Args:
            edit: Gets all that is stored, as JSON, and changes it in place. It is called once.

        Returns:
            What is different now; empty where nothing is.

        Raises:
            BadTenancy: It would not be complete, or not be one.
        """
        with self._database.transaction(_HOLDS, alone=True) as database:
            version, before = self._look(database)
            written = _written(before)
            edit(written)
            after = read_tenancy(written)
            changes = differences(before, after)
            if changes:
                database.execute("DELETE FROM tenancy")
                database.execute(
                    "INSERT INTO tenancy VALUES (1, ?, ?)", (version + 1, json.dumps(_own(_written(after))))
                )
        if changes:
            self._known, self._looked_at = (version + 1, after), self._clock()
        return changes

    def _look(self, database: Transaction) -> tuple[int, Tenancy]:
        row = database.execute("SELECT version FROM tenancy").fetchone()
        version = 0 if row is None else int(row[0])
        if self._known is None or self._known[0] != version:
            row = database.execute("SELECT version, written FROM tenancy").fetchone() or (0, "{}")
            self._known = int(row[0]), read_tenancy(with_plans(json.loads(row[1])))
        self._looked_at = self._clock()
        return self._known


@contextlib.contextmanager
def open_tenants() -> Generator[TenantStore]:
    """Open the tenants of this platform for a while.

    Raises:
        AgentError: `invalid_input` when it is not said where they are; see `control_databases`.
    """
    with control_database("tenants.db") as database:
        yield TenantStore(database)


def with_plans(written: dict[str, Any]) -> dict[str, Any]:
    """Return what is written with the plans that are there before anybody says anything."""
    usual = {name: plan.model_dump(mode="json", exclude_defaults=True) for name, plan in PLANS.items()}
    return {**written, "plans": {**usual, **(written.get("plans") or {})}}


def differences(before: Tenancy, after: Tenancy) -> list[Change]:
    """Return what is different, in order."""
    found = list[Change]()
    for kind in KINDS:
        old: Mapping[str, Any] = getattr(before, kind)
        new: Mapping[str, Any] = getattr(after, kind)
        found += [Change(kind=kind, name=name, what="created") for name in new.keys() - old.keys()]
        found += [Change(kind=kind, name=name, what="removed") for name in old.keys() - new.keys()]
        found += [
            Change(kind=kind, name=name, what="changed")
            for name in new.keys() & old.keys()
            if new[name] != old[name]
        ]
    return sorted(found)


def applied(stored: dict[str, Any], wanted: Any) -> None:
    """Put what stands in a file into what is stored: what it names is as it says, the rest stays.

    Raises:
        BadTenancy: It is no mapping of kinds to names.
    """
    for kind, named in _mapping(wanted, "it must be a mapping with organisations, plans and tenants").items():
        if kind not in KINDS:
            raise BadTenancy(f"{kind}: there are {', '.join(KINDS)}")
        stored[kind].update(_mapping(named or {}, f"{kind}: it must be a mapping of names"))


def _mapping(told: Any, otherwise: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise BadTenancy(otherwise)
    return {str(name): value for name, value in cast("dict[object, Any]", told).items()}


def _own(written: dict[str, Any]) -> dict[str, Any]:
    """Return what is written without the plans that nobody changed: a later version may give others."""
    plans = {
        name: plan for name, plan in written["plans"].items() if Plan.model_validate(plan) != PLANS.get(name)
    }
    return {**written, "plans": plans}


def _written(tenancy: Tenancy) -> dict[str, Any]:
    told: dict[str, Any] = tenancy.model_dump(mode="json", exclude_defaults=True)
    return {kind: told.get(kind, {}) for kind in KINDS}
