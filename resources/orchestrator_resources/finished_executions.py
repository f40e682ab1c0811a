"""What executions of a step have finished, so that a retry of the step does not run them again."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Final

from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.codec import decode, encode
from orchestrator_runtimes.json_values import parse
from orchestrator_runtimes.messages import Result

_AT_ONCE: Final = 500
_HOLDS: Final = "finished executions"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS finished"
    " (execution TEXT PRIMARY KEY, result TEXT, recorded DOUBLE PRECISION)",
)


class FinishedExecutions:
    """Results by execution id, in a database that several processes may share.

    Args:
        database: Where they are.
        texts: Seals them; None keeps them as they are.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database takes no more or does not answer.
    """

    def __init__(self, database: StateDatabase, texts: SealedTexts | None = None) -> None:
        """Prepare the table."""
        self._database, self._texts = database, texts or SealedTexts(None)
        database.prepare(_HOLDS, _TABLES)
        if "recorded" not in database.columns(
            _HOLDS, "finished"
        ):  # made by an older version: counts as recorded now
            with database.transaction(_HOLDS) as changes:
                changes.execute("ALTER TABLE finished ADD COLUMN recorded DOUBLE PRECISION")
                changes.execute("UPDATE finished SET recorded = ?", (time.time(),))

    def get(self, executions: Iterable[str]) -> dict[str, Result]:
        """Return the results of those executions that have finished."""
        names, found = list(executions), dict[str, Result]()
        with self._database.transaction(_HOLDS) as database:
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = database.execute(
                    f"SELECT execution, result FROM finished WHERE execution IN ({marks})", part
                )
                kept = {name: self._texts.open(_place(name), text) for name, text in rows.fetchall()}
                found.update({name: decode(Result, parse(text.encode())) for name, text in kept.items()})
        return found

    def put(self, results: Mapping[str, Result]) -> None:
        """Remember results, by execution; durable when this returns."""
        now = time.time()
        rows = [
            (execution, self._texts.seal(_place(execution), json.dumps(encode(result))), now)
            for execution, result in results.items()
        ]
        with self._database.transaction(_HOLDS) as database:
            database.executemany(
                "INSERT INTO finished (execution, result, recorded) VALUES (?, ?, ?) ON CONFLICT (execution)"
                " DO UPDATE SET result = excluded.result, recorded = excluded.recorded",
                rows,
            )

    def forget(self, executions: Iterable[str]) -> None:
        """Drop the results of executions whose asset is materialized."""
        with self._database.transaction(_HOLDS) as database:
            database.executemany("DELETE FROM finished WHERE execution = ?", [(name,) for name in executions])

    def purge(self, older_than: float) -> int:
        """Drop the results of executions that finished before a Unix time, and whose asset never came to be.

        Returns:
            How many were dropped.
        """
        with self._database.transaction(_HOLDS) as database:
            return database.execute("DELETE FROM finished WHERE recorded < ?", (older_than,)).rowcount


def _place(execution: str) -> tuple[str, str]:
    return ("result", execution)
