"""What executions of a step have finished, so that a retry of the step does not run them again."""

import json
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
                "CREATE TABLE IF NOT EXISTS finished (execution TEXT PRIMARY KEY, result TEXT) WITHOUT ROWID"
            )

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
        rows = [(execution, json.dumps(encode(result))) for execution, result in results.items()]
        with transaction(self._file, "finished executions") as database:
            database.executemany("INSERT OR REPLACE INTO finished (execution, result) VALUES (?, ?)", rows)

    def forget(self, executions: Iterable[str]) -> None:
        """Drop the results of executions whose asset is materialized."""
        with transaction(self._file, "finished executions") as database:
            database.executemany("DELETE FROM finished WHERE execution = ?", [(name,) for name in executions])
