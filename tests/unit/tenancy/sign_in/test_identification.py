"""Who credentials belong to: asked seldom, seen soon."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.identities import Identity, Role
from orchestrator_tenancy.sign_in import identification
from orchestrator_tenancy.sign_in.api_tokens import ApiToken, ApiTokens
from orchestrator_tenancy.sign_in.credentials import Credential
from orchestrator_tenancy.sign_in.identification import Identification, Undecided, known
from orchestrator_tenancy.sign_in.known_tenants import KnownTenants
from orchestrator_tenancy.sign_in.people import Grant, Person
from orchestrator_tenancy.sign_in.sessions import Session, Sessions
from orchestrator_tenancy.tenants import Tenancy, read_tenancy

TENANCY = read_tenancy(
    {
        "organisations": {"acme": {"title": "Acme"}},
        "plans": {"free": {}},
        "tenants": {name: {"organisation": "acme", "plan": "free"} for name in ("red", "blue")},
    }
)
OPERATOR = Grant(tenant=None, role=Role.OPERATOR)
RED, BLUE = Grant(tenant="red", role=Role.EDITOR), Grant(tenant="blue", role=Role.VIEWER)
SECRET = Credential("session", "secret")


def session(tenant: str | None, *grants: Grant) -> Session:
    person = Person(issuer="i", subject="ada", name="Ada", email=None, grants=grants)
    return Session(id="s", person=person, tenant=tenant, made=0, used=0, expires=1)


@pytest.mark.parametrize(
    ("tenant", "grants", "expected"),
    [
        (None, (RED,), ("red", Role.EDITOR)),
        ("red", (RED, BLUE), ("red", Role.EDITOR)),
        ("blue", (RED, BLUE), ("blue", Role.VIEWER)),
        (None, (RED, BLUE), None),
        ("gone", (RED, BLUE), None),
        ("blue", (RED,), ("red", Role.EDITOR)),
        ("blue", (), None),
        (None, (OPERATOR,), (None, Role.OPERATOR)),
        ("red", (OPERATOR,), ("red", Role.OPERATOR)),
        ("gone", (OPERATOR,), (None, Role.OPERATOR)),
        ("red", (OPERATOR, RED), ("red", Role.OPERATOR)),
    ],
)
def test_a_session_is_of_the_tenant_that_was_chosen_while_it_may(
    tenant: str | None, grants: tuple[Grant, ...], expected: tuple[str | None, Role] | None
) -> None:
    found = known(session(tenant, *grants), TENANCY)
    if expected is None:
        assert isinstance(found, Undecided) and set(found.tenants) == {grant.tenant for grant in grants}
    else:
        assert isinstance(found, Identity) and (found.tenant, found.role) == expected


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Sessions that count how often they are asked, and with what."""

    def __init__(self) -> None:
        self.asked = list[bool]()
        self.found: Session | None = session(None, RED)
        self.fails = False
        self.waits: threading.Event | None = None

    def find(self, secret: str, *, use: bool) -> Session | None:
        self.asked.append(use)
        found = self.found
        if self.waits is not None:
            assert self.waits.wait(10)
        if self.fails:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, "away")
        return found if secret == "secret" else None


class Directory:
    def tenancy(self) -> Tenancy:
        return TENANCY


def scenario(work: Callable[[Identification, Store, Clock], Coroutine[Any, Any, None]]) -> None:
    store, clock = Store(), Clock()
    with ThreadPoolExecutor(4) as executor:
        found = Identification(
            cast("Sessions", store),
            cast("ApiTokens", None),
            KnownTenants(Directory(), executor, 2.0, clock),
            executor,
            2.0,
            clock,
        )
        asyncio.run(work(found, store, clock))


def test_the_database_is_asked_once_in_two_seconds() -> None:
    async def work(found: Identification, store: Store, clock: Clock) -> None:
        answers = await asyncio.gather(*(found.find(SECRET) for _ in range(50)))
        assert len(store.asked) == 1 and len(set(map(id, answers))) >= 1 and None not in answers
        clock.now = 1.9
        await found.find(SECRET)
        assert len(store.asked) == 1
        clock.now = 2.1
        store.found = None
        assert await found.find(SECRET) is None and len(store.asked) == 2

    scenario(work)


def test_a_session_that_is_used_beside_an_open_websocket_is_not_idle() -> None:
    async def work(found: Identification, store: Store, clock: Clock) -> None:
        for _ in range(5):
            await found.find(SECRET, use=False)
            clock.now += 0.1
            await found.find(SECRET)
            clock.now += 2
        assert store.asked.count(True) == 5

    scenario(work)


def test_a_change_made_here_is_seen_at_once_also_by_who_asked_before_it() -> None:
    async def work(found: Identification, store: Store, clock: Clock) -> None:
        store.waits = threading.Event()
        asking = asyncio.create_task(found.find(SECRET))
        while not store.asked:
            await asyncio.sleep(0.001)
        store.found = None
        found.forget()
        store.waits.set()
        assert await asking is not None, "it was asked before"
        assert await found.find(SECRET) is None

    scenario(work)


def test_what_is_nobodys_is_remembered_for_longer_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identification, "_KEPT", 100)

    async def work(found: Identification, store: Store, clock: Clock) -> None:
        forged = Credential("session", "forged")
        assert not found.remembers(forged)
        assert await found.find(forged) is None and found.remembers(forged)
        clock.now = 29
        assert await found.find(forged) is None and len(store.asked) == 1
        clock.now = 31
        assert not found.remembers(forged)
        for number in range(300):
            await found.find(Credential("session", str(number)))
        assert found.kept == 100

    scenario(work)


def test_while_the_database_is_away_nobody_is_known() -> None:
    async def work(found: Identification, store: Store, clock: Clock) -> None:
        store.fails = True
        for _ in range(2):
            with pytest.raises(AgentError):
                await found.find(SECRET)
        store.fails = False
        assert await found.find(SECRET) is not None

    scenario(work)


def test_a_token_is_of_its_tenant_while_there_is_one() -> None:
    token = ApiToken(
        id="t", name="CI", tenant="red", role=Role.LAUNCHER, made=0, expires=1, used=None, revoked=None
    )
    assert known(token, TENANCY) == Identity(
        subject="token:t", name="CI", role=Role.LAUNCHER, tenant="red", session="t"
    )
    assert known(token, read_tenancy({})) is None


def test_tenants_are_looked_up_once_in_two_seconds_and_hold_up_nobody_else() -> None:
    asked, goes_on = list[float](), threading.Event()

    class Slow:
        def tenancy(self) -> Tenancy:
            asked.append(0)
            assert goes_on.wait(10)
            return TENANCY

    async def work() -> None:
        clock = Clock()
        with ThreadPoolExecutor(4) as executor:
            tenants = KnownTenants(Slow(), executor, 2.0, clock)
            waiting = [asyncio.create_task(tenants.tenancy()) for _ in range(20)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting), "and this goes on meanwhile"
            goes_on.set()
            assert set(map(id, await asyncio.gather(*waiting))) == {id(TENANCY)}
            assert len(asked) == 1
            clock.now = 2.1
            await tenants.tenancy()
            assert len(asked) == 2

    asyncio.run(work())
