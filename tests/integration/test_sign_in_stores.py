"""Sessions, API tokens and the audit log, wherever they are kept."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.audit.audit_log import AuditLog
from orchestrator_tenancy.audit.events import AuditEvent, Head, Tampered, verify
from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.api_tokens import ApiTokens
from orchestrator_tenancy.sign_in.people import Grant, Person
from orchestrator_tenancy.sign_in.sealing import Sealer
from orchestrator_tenancy.sign_in.sessions import Sessions
from orchestrator_tenancy.sign_in.settings import SessionSettings
from tests.integration.state_places import opened

ADA = Person(
    issuer="https://sso.example",
    subject="ada-subject",
    name="Ada Planted",
    email="ada@planted.example",
    grants=(Grant(tenant="red", role=Role.EDITOR), Grant(tenant=None, role=Role.OPERATOR)),
)
BOB = replace(ADA, subject="bob-subject", name="Bob Planted")
SECRETS = ("s" * 32,)
KEY = b"k" * 32
EVENT = AuditEvent(actor="user:a#ada", action="run.launch", tenant="red", target="run 1", allowed=True)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(stored: str) -> Iterator[StateDatabase]:
    with opened(stored) as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: StateDatabase, clock: Clock) -> Sessions:
    settings = SessionSettings(idle_seconds=100, longest_seconds=1_000, of_one_person=3)
    return Sessions(database, Sealer(SECRETS, "person"), settings, clock)


@pytest.fixture
def tokens(database: StateDatabase, clock: Clock) -> ApiTokens:
    return ApiTokens(database, clock)


def content(stored: str) -> bytes:
    """Return all that a database keeps."""
    if not is_postgres(stored):
        return b"".join(path.read_bytes() for path in Path(stored).parent.glob(f"{Path(stored).name}*"))
    with psycopg.connect(stored) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'orchestrator_state'")
        rows = [
            connection.execute(f"SELECT t::text FROM orchestrator_state.{name} t".encode()).fetchall()
            for (name,) in tables.fetchall()
        ]
    return str(rows).encode()


def test_a_session_comes_back_whole_and_the_database_tells_neither_who_nor_how(
    stored: str, sessions: Sessions
) -> None:
    session, secret = sessions.begin(ADA, "red")
    assert sessions.find(secret, use=True) == session and session.person == ADA
    assert sessions.find(secret + "x", use=True) is None
    kept = content(stored)
    assert session.id.encode() in kept
    for planted in (secret, "Planted", "planted", "ada-subject", "sso.example"):
        assert planted.encode() not in kept, planted


def test_a_session_ends_when_it_is_not_used_and_at_last_anyway(sessions: Sessions, clock: Clock) -> None:
    _, idle = sessions.begin(BOB, None)
    _, secret = sessions.begin(ADA, None)
    for _ in range(12):
        clock.now += 80
        assert sessions.find(secret, use=True) is not None
    assert sessions.find(idle, use=True) is None
    clock.now += 80
    assert sessions.find(secret, use=True) is None, "more than the longest"
    assert sessions.list() == []


def test_looking_at_a_session_is_no_use_of_it(sessions: Sessions, clock: Clock) -> None:
    _, secret = sessions.begin(ADA, None)
    for _ in range(3):
        clock.now += 33
        assert sessions.find(secret, use=False) is not None
    clock.now += 33
    assert sessions.find(secret, use=False) is None


def test_somebody_has_a_bounded_number_of_sessions_and_the_oldest_ends(
    sessions: Sessions, clock: Clock
) -> None:
    secrets = list[str]()
    for _ in range(5):
        clock.now += 1
        secrets.append(sessions.begin(ADA, None)[1])
    _, other = sessions.begin(BOB, None)
    assert [sessions.find(secret, use=True) is not None for secret in secrets] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert sessions.find(other, use=True) is not None
    assert len(sessions.list(ADA.identifier)) == 3 and len(sessions.list()) == 4
    assert sessions.revoke_all(ADA.identifier) == 3 and len(sessions.list()) == 1


def test_a_session_takes_the_place_of_another(sessions: Sessions) -> None:
    _, first = sessions.begin(ADA, None)
    _, second = sessions.begin(ADA, None, instead_of=first)
    assert sessions.find(first, use=True) is None and sessions.find(second, use=True) is not None


def test_a_tenant_is_chosen_and_a_session_is_revoked(sessions: Sessions) -> None:
    session, secret = sessions.begin(ADA, None)
    sessions.choose(session.id, "red")
    found = sessions.find(secret, use=True)
    assert found is not None and found.tenant == "red"
    assert sessions.revoke(session.id) and not sessions.revoke(session.id)
    assert sessions.find(secret, use=True) is None


def test_a_former_secret_still_opens_and_a_foreign_one_does_not(
    database: StateDatabase, sessions: Sessions
) -> None:
    _, secret = sessions.begin(ADA, None)
    settings = SessionSettings(idle_seconds=100, longest_seconds=1_000)
    later = Sessions(database, Sealer(("n" * 32, *SECRETS), "person"), settings, Clock())
    assert later.find(secret, use=True) is not None
    foreign = Sessions(database, Sealer(("n" * 32,), "person"), settings, Clock())
    assert foreign.find(secret, use=True) is None and foreign.list() == []


def test_a_row_that_was_given_to_another_signs_nobody_in(database: StateDatabase, sessions: Sessions) -> None:
    sessions.begin(BOB, None)
    sessions.begin(ADA, None)
    with database.transaction("a forgery") as changes:
        changes.execute("UPDATE web_sessions SET person = (SELECT max(person) FROM web_sessions)")
    assert len(sessions.list()) == 1, "only that of whom it is"


def test_a_token_holds_until_its_day(stored: str, tokens: ApiTokens, clock: Clock) -> None:
    token, text = tokens.create(name="CI of red", tenant="red", role=Role.LAUNCHER, days=2)
    assert tokens.find(text) == token
    assert text.encode() not in content(stored) and text.split("_", 2)[2].encode() not in content(stored)
    for other in (
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        f" {text}",
        "",
        text.upper(),
        "orchestrator__",
    ):
        assert tokens.find(other) is None
    clock.now += 2 * 86400 - 1
    found = tokens.find(text)
    assert found is not None and found.used == 1_000_000.0
    clock.now += 1
    assert tokens.find(text) is None
    assert [listed.id for listed in tokens.list("red")] == [token.id], "it is still listed"


def test_a_token_is_revoked_by_its_tenant_only(tokens: ApiTokens) -> None:
    token, text = tokens.create(name="CI", tenant="red", role=Role.VIEWER, days=1)
    with pytest.raises(AgentError, match="there is no token"):
        tokens.revoke(token.id, "blue")
    assert tokens.find(text) is not None
    assert tokens.revoke(token.id, "red").revoked is not None
    assert tokens.find(text) is None and tokens.list("blue") == []


@pytest.mark.parametrize(
    ("name", "tenant", "role", "days", "why"),
    [
        ("", "red", Role.VIEWER, 1, "a token's name"),
        ("a\nb", "red", Role.VIEWER, 1, "a token's name"),
        ("x" * 101, "red", Role.VIEWER, 1, "a token's name"),
        ("CI", "Red!", Role.VIEWER, 1, "no name of a tenant"),
        ("CI", "red", Role.OPERATOR, 1, "an operator of none"),
        ("CI", "red", Role.VIEWER, 0, "more than 0"),
        ("CI", "red", Role.VIEWER, 367, "at most 366"),
        ("CI", "red", Role.VIEWER, float("nan"), "more than 0"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    tokens: ApiTokens, name: str, tenant: str, role: Role, days: float, why: str
) -> None:
    with pytest.raises(AgentError, match=why) as refused:
        tokens.create(name=name, tenant=tenant, role=role, days=days)
    assert refused.value.code is ErrorCode.INVALID_INPUT


def test_a_tenant_has_a_bounded_number_of_tokens(tokens: ApiTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_tenancy.sign_in.api_tokens.OF_A_TENANT", 2)
    first, _ = tokens.create(name="1", tenant="red", role=Role.VIEWER, days=1)
    tokens.create(name="2", tenant="red", role=Role.VIEWER, days=1)
    tokens.create(name="1", tenant="blue", role=Role.VIEWER, days=1)
    with pytest.raises(AgentError, match="revoke some"):
        tokens.create(name="3", tenant="red", role=Role.VIEWER, days=1)
    tokens.revoke(first.id)
    tokens.create(name="3", tenant="red", role=Role.VIEWER, days=1)


def test_the_audit_log_comes_back_as_it_was_written(database: StateDatabase) -> None:
    log = AuditLog(database, [KEY])
    odd = replace(EVENT, actor="a\x00\ud800\nb", reason="x" * 600, tenant=None, allowed=False)
    log.append([EVENT, odd])
    log.append([EVENT] * 2_500)
    records = list(log.records())
    assert [record.number for record in records] == list(range(1, 2_503))
    assert records[0].event == EVENT and records[1].event.actor == "a���b"
    assert len(records[1].event.reason) == 500 and records[1].event.tenant is None
    assert verify(records, [KEY]) == log.head()
    assert len(list(log.records(after=2_500))) == 2


def test_the_database_refuses_to_change_the_audit_log(database: StateDatabase, stored: str) -> None:
    log = AuditLog(database, [KEY])
    log.append([EVENT])
    changes = ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"]
    changes += (
        ["TRUNCATE audit_log"] if is_postgres(stored) else ["REPLACE INTO audit_log SELECT * FROM audit_log"]
    )
    for change in changes:
        with pytest.raises(AgentError) as refused, database.transaction("a forgery") as forged:
            forged.execute(change)
        assert "audit_log is only added to" in str(refused.value.cause), change
    AuditLog(database, [KEY]).append([EVENT])
    assert verify(log.records(), [KEY]).number == 2


def unprotected(database: StateDatabase, stored: str) -> None:
    """Lift what protects the log, as whoever owns the table can."""
    with database.transaction("a forgery") as forged:
        if is_postgres(stored):
            forged.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
        else:
            for change in ("update", "delete"):
                forged.execute(f"DROP TRIGGER audit_log_no_{change}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE audit_log SET allowed = 1 WHERE number = 2", "record 2 was changed"),
        ("UPDATE audit_log SET at = at + 1 WHERE number = 3", "record 3 was changed"),
        ("UPDATE audit_log SET tenant = 'blue' WHERE number = 3", "record 3 was changed"),
        ("DELETE FROM audit_log WHERE number = 2", "after record 1 comes 3"),
        ("DELETE FROM audit_log WHERE number = 1", "after record 0 comes 2"),
        ("DELETE FROM audit_log WHERE number > 2", "its end was cut off"),
        ("DELETE FROM audit_log", "its end was cut off"),
    ],
)
def test_who_changes_the_log_nevertheless_is_found_out(
    database: StateDatabase, stored: str, change: str, why: str
) -> None:
    log = AuditLog(database, [KEY])
    log.append([EVENT, replace(EVENT, allowed=False), EVENT, EVENT])
    head = log.head()
    unprotected(database, stored)
    with database.transaction("a forgery") as forged:
        forged.execute(change)
    with pytest.raises(Tampered, match=why):
        verify(log.records(), [KEY], head)


def test_who_makes_the_whole_chain_anew_lacks_the_seal(database: StateDatabase, stored: str) -> None:
    log = AuditLog(database, [KEY])
    log.append([EVENT, EVENT])
    unprotected(database, stored)
    with database.transaction("a forgery") as forged:
        forged.execute("DELETE FROM audit_log")
    AuditLog(database, [b"guessed"]).append([replace(EVENT, allowed=False), EVENT])
    assert verify(log.records(), []).number == 2, "the chain by itself is whole"
    with pytest.raises(Tampered, match="not sealed by this platform"):
        verify(log.records(), [KEY])


def test_a_log_goes_on_under_another_secret(database: StateDatabase) -> None:
    AuditLog(database, [KEY]).append([EVENT])
    log = AuditLog(database, [b"new", KEY])
    log.append([EVENT])
    assert verify(log.records(), log.keys, Head(number=1, digest=next(log.records()).digest)).number == 2


def append_many(stored: str, count: int) -> None:
    with opened(stored) as database:
        log = AuditLog(database, [KEY])
        for _ in range(count):
            log.append([EVENT])


def test_processes_that_write_at_once_make_one_chain(stored: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_many, args=(stored, 30)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with opened(stored) as database, contextlib.closing(database):
        log = AuditLog(database, [KEY])
        assert verify(log.records(), [KEY]).number == 90
