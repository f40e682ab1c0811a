"""What executions of a step have finished, so that a retry of the step does not run them again."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from orchestrator_resources.sqlite_files import transaction
from orchestrator_runtimes.codec import decode, encode
from orchestrator_runtimes.json_values import parse
from orchestrator_runtimes.messages import Result

_AT_ONCE: Final = 500


class FinishedExecutions:
    """Results by execution id, in a file that several processes may share.

    Args:
        file: The database; made when missing.

    Raises:
        AgentError: `state_unavailable`, from every method, when the disk is full or does not answer.
    """

    def __init__(self, file: Path) -> None:
        """Prepare the table."""
        self._file = file
        with transaction(self._file, "finished executions") as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS finished"
                " (execution TEXT PRIMARY KEY, result TEXT, recorded REAL) WITHOUT ROWID"
            )
            columns = [name for _, name, *_ in database.execute("PRAGMA table_info(finished)")]
            if "recorded" not in columns:  # made by an older version: counts as recorded now
                database.execute("ALTER TABLE finished ADD COLUMN recorded REAL")
                database.execute("UPDATE finished SET recorded = ?", (time.time(),))

    def get(self, executions: Iterable[str]) -> dict[str, Result]:
        """Return the results of those executions that have finished."""
        names, found = list(executions), dict[str, Result]()
        with transaction(self._file, "finished executions") as database:
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = database.execute(
                    f"SELECT execution, result FROM finished WHERE execution IN ({marks})", part
                )
                found.update({name: decode(Result, parse(text.encode())) for name, text in rows})
        return found

    def put(self, results: Mapping[str, Result]) -> None:
        """Remember results, by execution; durable when this returns."""
        now = time.time()
        rows = [(execution, json.dumps(encode(result)), now) for execution, result in results.items()]
        with transaction(self._file, "finished executions") as database:
            database.executemany(
                "INSERT OR REPLACE INTO finished (execution, result, recorded) VALUES (?, ?, ?)", rows
            )

    def forget(self, executions: Iterable[str]) -> None:
        """Drop the results of executions whose asset is materialized."""
        with transaction(self._file, "finished executions") as database:
            database.executemany("DELETE FROM finished WHERE execution = ?", [(name,) for name in executions])

    def purge(self, older_than: float) -> int:
        """Drop the results of executions that finished before a Unix time, and whose asset never came to be.

        Returns:
            How many were dropped.
        """
        with transaction(self._file, "finished executions") as database:
            return database.execute("DELETE FROM finished WHERE recorded < ?", (older_than,)).rowcount
