"""What agents ask people, and what was decided: in a database, so that no process waits between the two."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from orchestrator_resources.personal_fields import is_sealed
from orchestrator_resources.sealed_texts import KEYS_FILE, SealedTexts
from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import Approval, ApprovalAsk

REQUESTS: Final = 100
"""Most requests of one execution: an agent that asks more is in a loop."""

QUESTION_CHARACTERS: Final = 100_000
"""Longest question: what nobody can read nobody should approve."""

RETENTION_SECONDS: Final = 365 * 24 * 3600.0
"""How long decisions are kept for those who ask who decided what."""

NOBODY: Final = "expiry"
"""Who rejects a request that nobody decided about in time."""

ID_CHARACTERS: Final = 12
_PREFIX_CHARACTERS: Final = 4
_AT_ONCE: Final = 500

Verdict: TypeAlias = Literal["approved", "rejected"]

_HOLDS: Final = "approvals"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS requests ("
    " id TEXT PRIMARY KEY, execution TEXT NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL,"
    " asset TEXT NOT NULL, partition TEXT, item TEXT NOT NULL, run TEXT NOT NULL,"
    " asked DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL,"
    " verdict TEXT, answer TEXT, reason TEXT, decider TEXT, decided DOUBLE PRECISION)",
    "CREATE INDEX IF NOT EXISTS requests_of_execution ON requests (execution)",
    "CREATE INDEX IF NOT EXISTS requests_of_run ON requests (run)",
)


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Whose execution asks.

    Attributes:
        asset: Key of the asset, with slashes.
        partition: None where the asset has none.
        item: What people call the execution, such as a row's key.
        run: Id of the Dagster run.
        seconds: How long a request waits before it counts as rejected.
    """

    asset: str
    partition: str | None
    item: str
    run: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person decided; it never changes.

    Attributes:
        verdict: Whether the agent may go on as it wants to.
        by: Who decided; `NOBODY` when the time was over.
        at: Unix time in seconds.
        reason: Told to the agent; None when nothing was said.
        answer: What a framework's own interrupt gets in place of the verdict; None when it gets the verdict.
    """

    verdict: Verdict
    by: str
    at: float
    reason: str | None = None
    answer: Json = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an execution asks.

    Attributes:
        id: Names it to people; the same in every try of the execution.
        execution: Whose it is.
        kind: `tool` for a call of a tool marked `approval`, `native` for a framework's own interrupt.
        question: The tool and its arguments, or what the framework says.
        asker: Whose execution that is.
        asked: Unix time in seconds of the first time.
        expires: Unix time in seconds after which it counts as rejected.
        decision: None while it waits.
        sealed: Whether the question is sealed and there is no key here that opens it: it is a text for nobody then, and
            so are reason and answer.
    """

    id: str
    execution: str
    kind: Literal["tool", "native"]
    question: Json
    asker: Asker
    asked: float
    expires: float
    decision: Decision | None = None
    sealed: bool = False


class Approvals:
    """Requests and decisions, in a database that the processes of one Dagster instance share.

    Args:
        database: Where they are.
        texts: Seals questions, reasons and answers; None keeps them as they are. Without a key what is sealed can be
            listed, so that a sensor sees what is decided, but neither read nor decided about.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database takes no more or does not answer.
    """

    def __init__(
        self,
        database: StateDatabase,
        texts: SealedTexts | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the tables, and drop decisions that are too old to be asked for."""
        self._database = database
        self._texts = texts or SealedTexts(None)
        self._now = now
        database.prepare(_HOLDS, _TABLES)
        with database.transaction(_HOLDS) as changes:
            changes.execute("DELETE FROM requests WHERE expires < ?", (now() - RETENTION_SECONDS,))

    def ask(self, call: ApprovalAsk, asker: Asker) -> Approval:
        """Say what was decided about a tool call; what is asked for the first time waits from now on.

        Raises:
            AgentError: `limit_exceeded` when the execution asks too much, or what it asks is too long to be read.
        """
        question: Json = {"tool": call.tool, "arguments": dict(call.arguments)}
        name = _id(call.execution, call.step, call.occurrence)
        asked = self._asked(name, call.execution, "tool", question, asker)
        if asked.decision is None:
            return Approval(id=asked.id, state="waiting")
        return Approval(id=asked.id, state=asked.decision.verdict, reason=asked.decision.reason)

    def ask_native(self, execution: str, question: Json, asker: Asker) -> Request:
        """Return the request of an execution that its framework interrupted.

        Raises:
            AgentError: `limit_exceeded`, as for `ask`.
        """
        number = sum(r.kind == "native" and r.decision is not None for r in self.of_executions([execution]))
        return self._asked(_id(execution, "native", number), execution, "native", question, asker)

    def decide(
        self,
        name: str,
        verdict: Verdict,
        *,
        by: str,
        reason: str | None = None,
        answer: Json = None,
        below: str | None = None,
    ) -> Request:
        """Decide about a request, durably; the same decision again changes nothing.

        Args:
            name: As for `find`.
            verdict: What is decided.
            by: Who decides.
            reason: Told to the agent.
            answer: See `Decision.answer`.
            below: How the keys of the assets begin whose requests these are, such as `acme/`; others are as if they
                were not there. None means all.

        Raises:
            AgentError: `invalid_input` when there is no such request, a tool's gets an answer, another decision
                stands, or the request is sealed and there is no key.
        """
        text = None if answer is None else dump(answer).decode()
        with self._database.transaction(_HOLDS, alone=True) as database:
            found = self._find(database, name, below)
            if found.sealed:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    f"the request {found.id} is sealed by the key of its tenant, which is needed to decide about it:"
                    f" set {KEYS_FILE}",
                )
            if found.kind == "tool" and answer is not None:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    f"the request {found.id} is about a tool call, which takes no answer: approve or reject it",
                )
            if (stands := found.decision) is not None:
                if (stands.verdict, stands.answer) != (verdict, answer):
                    raise AgentError(
                        ErrorCode.INVALID_INPUT,
                        f"the request {found.id} was {stands.verdict} by {stands.by}, and a decision stands",
                        cause=stands.reason,
                    )
                return found
            database.execute(
                "UPDATE requests SET verdict = ?, answer = ?, reason = ?, decider = ?, decided = ? WHERE id = ?",
                (
                    verdict,
                    self._seal(found.id, "answer", text),
                    self._seal(found.id, "reason", reason),
                    by,
                    self._now(),
                    found.id,
                ),
            )
            return self._find(database, found.id)

    def find(self, name: str) -> Request:
        """Return a request by its id, by the first four or more characters of it, or by the asset where only one waits.

        Raises:
            AgentError: `invalid_input` when there is none, or more than one.
        """
        with self._database.transaction(_HOLDS, alone=True) as database:
            return self._find(database, name)

    def list(self, *, waiting: bool = False) -> Sequence[Request]:
        """Return the requests, the oldest first; only those that wait for a decision where that is asked for."""
        where = "verdict IS NULL" if waiting else "TRUE"
        with self._database.transaction(_HOLDS, alone=True) as database:
            return self._read(database, f"{where} ORDER BY asked, id")

    def of_executions(self, executions: Iterable[str]) -> Sequence[Request]:
        """Return the requests of these executions, the oldest first."""
        names, found = list(executions), list[Request]()
        with self._database.transaction(_HOLDS, alone=True) as database:
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                found += self._read(database, f"execution IN ({marks}) ORDER BY asked, id", *part)
        return found

    def take_up(self, executions: Sequence[str], *, run: str) -> Sequence[Request]:
        """Return the requests of executions that a run goes on with; those that wait are this run's from now on."""
        with self._database.transaction(_HOLDS, alone=True) as database:
            database.executemany(
                "UPDATE requests SET run = ? WHERE execution = ? AND verdict IS NULL",
                [(run, execution) for execution in executions],
            )
        return self.of_executions(executions)

    def of_run(self, run: str) -> Sequence[Request]:
        """Return the requests that a Dagster run made or found waiting."""
        with self._database.transaction(_HOLDS, alone=True) as database:
            return self._read(database, "run = ? ORDER BY asked, id", run)

    def _asked(
        self, name: str, execution: str, kind: Literal["tool", "native"], question: Json, asker: Asker
    ) -> Request:
        text = dump(question).decode()
        if len(text) > QUESTION_CHARACTERS:
            raise AgentError(
                ErrorCode.LIMIT_EXCEEDED,
                f"what is to be approved has {len(text)} characters, more than the {QUESTION_CHARACTERS} that anybody"
                " could read; store the data and ask about a reference",
            )
        now = self._now()
        sealed = self._texts.seal(_place(name, "question"), text)
        values = (name, execution, kind, sealed, asker.asset, asker.partition, asker.item, asker.run)
        with self._database.transaction(_HOLDS, alone=True) as database:
            known = {request.id: request for request in self._read(database, "execution = ?", execution)}
            if name not in known and len(known) >= REQUESTS:
                raise AgentError(
                    ErrorCode.LIMIT_EXCEEDED,
                    f"the execution asked people {REQUESTS} times, and may not ask more: it may be in a loop",
                )
            if name in known and known[name].decision is not None:
                return known[name]
            database.execute(
                "INSERT INTO requests (id, execution, kind, question, asset, partition, item, run, asked, expires)"
                " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET run = excluded.run",
                (*values, now, now + asker.seconds),
            )
            return self._find(database, name)

    def _find(self, database: Transaction, name: str, below: str | None = None) -> Request:
        def read(where: str) -> Sequence[Request]:
            return [
                request
                for request in self._read(database, where, name)
                if below is None or request.asker.asset.startswith(below)
            ]

        exact = read("id = ?")
        if exact:
            return exact[0]
        found = read("asset = ? AND verdict IS NULL")
        if not found and len(name) >= _PREFIX_CHARACTERS and name.isalnum():
            found = read(f"substr(id, 1, {len(name)}) = ?")
        if len(found) == 1:
            return found[0]
        if not found:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"no request {name!r:.80} waits or was decided; see `orchestrator approvals list`",
            )
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"{name!r:.80} names {len(found)} requests; give the id of one: {', '.join(r.id for r in found[:5])}",
        )

    def _read(self, database: Transaction, where: str, *values: object) -> Sequence[Request]:
        """Return requests; those whose time is over are rejected first, so that no clock can bring them back."""
        now = self._now()
        database.execute(
            "UPDATE requests SET verdict = 'rejected', decider = ?, decided = ?, reason = ?"
            " WHERE verdict IS NULL AND expires <= ?",
            (NOBODY, now, "nobody decided in time", now),
        )
        rows = database.execute(
            "SELECT id, execution, kind, question, asset, partition, item, run, asked, expires,"
            f" verdict, answer, reason, decider, decided FROM requests WHERE {where}",
            values,
        )
        return [self._request(row) for row in rows.fetchall()]

    def _seal(self, name: str, column: str, text: str | None) -> str | None:
        return None if text is None else self._texts.seal(_place(name, column), text)

    def _open(self, name: str, column: str, kept: object) -> str | None:
        """Return what was sealed; None where there is nothing, or nothing that opens without a key."""
        if kept is None or (is_sealed(str(kept)) and not self._texts.seals):
            return None
        return self._texts.open(_place(name, column), str(kept))

    def _request(self, row: tuple[object, ...]) -> Request:
        name, execution, kind, kept, asset, partition, item, run, asked, expires, *decided = row
        verdict, answer, reason, by, at = decided
        request = str(name)
        decision = None
        if verdict is not None:
            said = self._open(request, "answer", answer)
            decision = Decision(
                verdict="approved" if verdict == "approved" else "rejected",
                by=str(by),
                at=_seconds(at),
                reason=self._open(request, "reason", reason),
                answer=None if said is None else parse(said.encode()),
            )
        question = self._open(request, "question", kept)
        return Request(
            id=request,
            execution=str(execution),
            kind="tool" if kind == "tool" else "native",
            question=None if question is None else parse(question.encode()),
            asker=Asker(
                asset=str(asset),
                partition=None if partition is None else str(partition),
                item=str(item),
                run=str(run),
                seconds=_seconds(expires) - _seconds(asked),
            ),
            asked=_seconds(asked),
            expires=_seconds(expires),
            decision=decision,
            sealed=question is None,
        )


def _place(name: str, column: str) -> tuple[str, str, str]:
    return ("approval", name, column)


def _seconds(value: object) -> float:
    return float(str(value))


def _id(execution: str, step: str, number: int) -> str:
    text = json.dumps([execution, step, number])
    return sha256(text.encode()).hexdigest()[:ID_CHARACTERS]


def by_execution(requests: Iterable[Request]) -> Mapping[str, Sequence[Request]]:
    """Return requests by their execution."""
    found: dict[str, list[Request]] = {}
    for request in requests:
        found.setdefault(request.execution, []).append(request)
    return found


def read_answer(text: str | None) -> Json:
    """Return an answer that a person wrote as JSON; None for None.

    Raises:
        AgentError: `invalid_input` when it is no JSON.
    """
    if text is None:
        return None
    try:
        return parse(text.encode())
    except NotJson as error:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            """an answer is JSON, such as '"yes"' or '{"approved": true}'""",
            cause=str(error),
        ) from error
