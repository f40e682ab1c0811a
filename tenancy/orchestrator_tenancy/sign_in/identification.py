"""Who a credential belongs to, and what they may do now; asked for each request, so what is known is kept a moment."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator_tenancy.identities import Identity, Role
from orchestrator_tenancy.sign_in.api_tokens import ApiToken, ApiTokens
from orchestrator_tenancy.sign_in.credentials import Credential
from orchestrator_tenancy.sign_in.known_tenants import KnownTenants
from orchestrator_tenancy.sign_in.people import Person
from orchestrator_tenancy.sign_in.sealing import fingerprint
from orchestrator_tenancy.sign_in.sessions import Session, Sessions
from orchestrator_tenancy.tenants import Tenancy

_KEPT: Final = 20_000
"""Credentials, with those that are none: about 20 MB."""

_NOBODYS_SECONDS: Final = 30.0
"""How long it is kept that a secret is nobody's: it becomes nobody else's, and browsers send old ones for long."""

Owner: TypeAlias = Session | ApiToken


@dataclass
class _Answer:
    """What a database said.

    Attributes:
        owner: Whose it is.
        at: When it was asked.
        changes: After how many changes made here.
        used: Whether it was told that somebody uses it.
        refused: Whether somebody was refused for it.
    """

    owner: Owner | None
    at: float
    changes: int
    used: bool
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """Somebody signed in who is of no tenant now.

    Attributes:
        session: Of theirs.
        tenants: That they may choose among, with what they may do there; empty when there is none for them.
    """

    session: Session
    tenants: Mapping[str, Role]


Known: TypeAlias = Identity | Undecided


def known(owner: Owner, tenancy: Tenancy) -> Known | None:
    """Return what somebody may do, as tenants are now; None for a token whose tenant is gone."""
    if isinstance(owner, ApiToken):
        if owner.tenant not in tenancy.tenants:
            return None
        return Identity(
            subject=f"token:{owner.id}",
            name=owner.name,
            role=owner.role,
            tenant=owner.tenant,
            session=owner.id,
        )
    chosen = None if owner.tenant is None else tenancy.tenants.get(owner.tenant)
    if owner.person.operator:
        return _identity(owner, Role.OPERATOR, None if chosen is None else owner.tenant)
    if owner.tenant is not None and chosen is not None:
        role = owner.person.role_in(owner.tenant, chosen)
        if role is not None:
            return _identity(owner, role, owner.tenant)
    choices = choices_of(owner.person, tenancy)
    if len(choices) == 1:
        tenant, role = next(iter(choices.items()))
        return _identity(owner, role, tenant)
    return Undecided(session=owner, tenants=choices)


def choices_of(person: Person, tenancy: Tenancy) -> Mapping[str, Role]:
    """Return the tenants that somebody may be of, with what they may do there."""
    if person.operator:
        return dict.fromkeys(sorted(tenancy.tenants), Role.OPERATOR)
    return person.roles(tenancy)


def _identity(session: Session, role: Role, tenant: str | None) -> Identity:
    person = session.person
    return Identity(subject=person.identifier, name=person.name, role=role, tenant=tenant, session=session.id)


class Identification:
    """Finds who credentials belong to.

    Args:
        sessions: Of people.
        tokens: Of programs.
        tenants: Those that there are.
        executor: In whose threads databases are asked.
        recheck_seconds: For how long an answer is kept.
        now: Clock, in seconds, that never goes back.
    """

    def __init__(
        self,
        sessions: Sessions,
        tokens: ApiTokens,
        tenants: KnownTenants,
        executor: Executor,
        recheck_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions, self._tokens, self._tenants = sessions, tokens, tenants
        self._executor, self._seconds, self._now = executor, recheck_seconds, now
        self._kept: OrderedDict[str, _Answer] = OrderedDict()
        self._asked: dict[tuple[str, bool], asyncio.Task[Owner | None]] = {}
        self._changes = 0

    async def find(self, credential: Credential, *, use: bool = True) -> Known | None:
        """Return what the owner of a credential may do now; None when it is nobody's.

        Args:
            credential: As it was sent.
            use: Whether they use it now; a websocket that is only open does not.

        Raises:
            AgentError: `state_unavailable` when it cannot be known.
        """
        owner = await self.owner(credential, use=use)
        return None if owner is None else known(owner, await self._tenants.tenancy())

    def remembers(self, credential: Credential) -> bool:
        """Return whether it was somebody's a while ago, or it can be told without the database that it is nobody's."""
        kept = self._kept.get(_key(credential))
        return kept is not None and (kept.owner is not None or self._fresh(kept, use=False))

    def refuse(self, credential: Credential) -> bool:
        """Return whether nobody was refused yet for what is known of a credential."""
        kept = self._kept.get(_key(credential))
        first = kept is None or not kept.refused
        if kept is not None:
            kept.refused = True
        return first

    async def owner(self, credential: Credential, *, use: bool = True) -> Owner | None:
        """Return the session or token; see `find`."""
        key = _key(credential)
        kept = self._kept.get(key)
        if kept is not None and self._fresh(kept, use=use):
            return kept.owner
        asked = self._asked.get((key, use))
        if asked is None:
            asked = self._asked[key, use] = asyncio.create_task(self._ask(key, credential, use))
            asked.add_done_callback(lambda task: self._answered((key, use), task))
        return await asyncio.shield(asked)

    def forget(self) -> None:
        """Ask again for all of them, also for those that are being asked for: something was changed here."""
        self._asked.clear()
        self._changes += 1

    def _fresh(self, answer: _Answer, *, use: bool) -> bool:
        if answer.owner is None:
            return self._now() - answer.at < _NOBODYS_SECONDS
        told = (
            answer.used or not use
        )  # else who uses a session beside an open websocket would seem to be idle
        return told and answer.changes == self._changes and self._now() - answer.at < self._seconds

    def _answered(self, key: tuple[str, bool], task: "asyncio.Task[Owner | None]") -> None:
        if self._asked.get(key) is task:
            del self._asked[key]
        if not task.cancelled():
            task.exception()  # told to those who wait, of whom there may be none left

    @property
    def kept(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    async def _ask(self, key: str, credential: Credential, use: bool) -> Owner | None:
        at, changes = self._now(), self._changes
        loop = asyncio.get_running_loop()
        found: Owner | None
        if credential.kind == "session":
            found = await loop.run_in_executor(
                self._executor, lambda: self._sessions.find(credential.text, use=use)
            )
        else:
            found = await loop.run_in_executor(self._executor, self._tokens.find, credential.text)
        self._kept[key] = _Answer(found, at, changes, use)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def _key(credential: Credential) -> str:
    return f"{credential.kind}:{fingerprint(credential.text)}"
