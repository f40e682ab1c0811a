"""Sessions of people, kept by the server: a browser has a secret that names one, and nothing else."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_tenancy.sign_in.people import Person, read_person, written_person
from orchestrator_tenancy.sign_in.sealing import NotSealed, Sealer, fingerprint
from orchestrator_tenancy.sign_in.settings import SessionSettings

_HOLDS: Final = "sessions of people"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS web_sessions ("
    " id TEXT PRIMARY KEY, secret TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, person TEXT NOT NULL, tenant TEXT,"
    " made DOUBLE PRECISION NOT NULL, used DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL)",
    "CREATE INDEX IF NOT EXISTS web_sessions_of_owner ON web_sessions (owner, made)",
    "CREATE INDEX IF NOT EXISTS web_sessions_by_end ON web_sessions (expires)",
)
_COLUMNS: Final = "id, owner, person, tenant, made, used, expires"
_TOUCH_SECONDS: Final = 60.0
"""How exactly the last use is known: writing it for each request would cost a transaction each."""

SECRET_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class Session:
    """A sign-in that holds.

    Attributes:
        id: Names it to people; no secret.
        person: Whose it is.
        tenant: That they chose last; None before they did.
        made: Unix time in seconds of the sign-in.
        used: Of the last use, to a minute.
        expires: When it ends at the latest.
    """

    id: str
    person: Person
    tenant: str | None
    made: float
    used: float
    expires: float


class Sessions:
    """Sessions in a database that all servers share.

    Args:
        database: Where they are.
        sealer: Hides who they are of.
        settings: How long they hold.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database does not answer.
    """

    def __init__(
        self,
        database: StateDatabase,
        sealer: Sealer,
        settings: SessionSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._sealer, self._settings, self._now = database, sealer, settings, now
        database.prepare(_HOLDS, _TABLES)

    def begin(
        self, person: Person, tenant: str | None, *, instead_of: str | None = None
    ) -> tuple[Session, str]:
        """Return a new session and its secret; the oldest of somebody who has too many ends.

        Args:
            person: Whose it is.
            tenant: That they have chosen; None asks them.
            instead_of: The secret of one that ends; None ends none.
        """
        now, secret = self._now(), secrets.token_urlsafe(SECRET_BYTES)
        session = Session(
            id=secrets.token_hex(8),
            person=person,
            tenant=tenant,
            made=now,
            used=now,
            expires=now + self._settings.longest_seconds,
        )
        row = (
            session.id,
            fingerprint(secret),
            _owner(person),
            self._sealer.seal(written_person(person)),
            tenant,
            now,
            now,
            session.expires,
        )
        with self._database.transaction(_HOLDS, alone=True) as database:
            if instead_of is not None:
                database.execute("DELETE FROM web_sessions WHERE secret = ?", (fingerprint(instead_of),))
            database.execute(
                "DELETE FROM web_sessions WHERE expires <= ? OR used <= ?",
                (now, now - self._settings.idle_seconds),
            )
            database.execute(
                "INSERT INTO web_sessions (id, secret, owner, person, tenant, made, used, expires)"
                " VALUES (?,?,?,?,?,?,?,?)",
                row,
            )
            kept = database.execute(
                "SELECT id FROM web_sessions WHERE owner = ? ORDER BY made DESC, id", (_owner(person),)
            ).fetchall()
            database.executemany(
                "DELETE FROM web_sessions WHERE id = ?",
                [tuple(r) for r in kept[self._settings.of_one_person :]],
            )
        return session, secret

    def find(self, secret: str, *, use: bool) -> Session | None:
        """Return the session of a secret; None when there is none, or it has ended.

        Args:
            secret: As the browser has it.
            use: Whether somebody uses it now, so that it stays.
        """
        with self._database.transaction(_HOLDS) as database:
            found = self._read(database, "secret = ?", fingerprint(secret))
            if not found:
                return None
            (session,), now = found, self._now()
            if use and now - session.used > _TOUCH_SECONDS:
                database.execute("UPDATE web_sessions SET used = ? WHERE id = ?", (now, session.id))
                return replace(session, used=now)
            return session

    def choose(self, session: str, tenant: str | None) -> None:
        """Go on as of another tenant; None is for operators, who then see all."""
        with self._database.transaction(_HOLDS) as database:
            database.execute("UPDATE web_sessions SET tenant = ? WHERE id = ?", (tenant, session))

    def list(self, subject: str | None = None) -> Sequence[Session]:
        """Return those that hold, the oldest first.

        Args:
            subject: Whose, as `Identity.subject`; None means everybody's.
        """
        with self._database.transaction(_HOLDS) as database:
            if subject is None:
                return self._read(database, "TRUE")
            return self._read(database, "owner = ?", _hidden(subject))

    def revoke(self, session: str) -> bool:
        """End a session by its id; return whether there was one."""
        with self._database.transaction(_HOLDS) as database:
            return database.execute("DELETE FROM web_sessions WHERE id = ?", (session,)).rowcount > 0

    def revoke_all(self, subject: str) -> int:
        """End all of somebody, as `Identity.subject`; return how many there were."""
        with self._database.transaction(_HOLDS) as database:
            return database.execute("DELETE FROM web_sessions WHERE owner = ?", (_hidden(subject),)).rowcount

    def _read(self, database: Transaction, where: str, *values: object) -> Sequence[Session]:
        now = self._now()
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM web_sessions WHERE {where} AND expires > ? AND used > ? ORDER BY made, id",
            (*values, now, now - self._settings.idle_seconds),
        ).fetchall()
        return [session for row in rows if (session := self._session(row)) is not None]

    def _session(self, row: tuple[Any, ...]) -> Session | None:
        name, owner, person, tenant, made, used, expires = row
        try:
            found = read_person(self._sealer.open(person))
        except (NotSealed, KeyError, TypeError, ValueError):
            return None  # sealed by a secret that was taken away: they sign in again
        if _owner(found) != owner:
            return None
        return Session(id=name, person=found, tenant=tenant, made=made, used=used, expires=expires)


def _owner(person: Person) -> str:
    return _hidden(person.identifier)


def _hidden(subject: str) -> str:
    """Return what rows of one person have in common and does not tell who they are."""
    return fingerprint(subject)
