"""What gateway and host of a trial have recorded durably, read from outside while they live or are dead."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from orchestrator_gateway.journal import Scope
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_resources.gateway import TENANT
from orchestrator_resources.runtimes import CALLS, STEPS
from orchestrator_resources.step_journal import SqliteSteps
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import StepLookup
from orchestrator_runtimes.tools import step_identity


class Records:
    """The journals of one trial, in SQLite.

    Args:
        state: Folder of the journals.
    """

    def __init__(self, state: Path) -> None:
        """Open them."""
        self._file = state / CALLS
        self._calls = SqliteJournal(self._file)
        self._steps = SqliteSteps(state / STEPS)

    async def has_answer(self, execution: str, name: str, most: int) -> bool:
        """Return whether the answer with a name is recorded for an execution; `most` calls were begun in this trial."""
        scopes = [Scope(tenant=TENANT, execution=execution, agent=agent) for agent in self._agents(execution)]
        for scope in scopes:
            for number in range(1, most + 1):
                with suppress(KeyError):
                    answer = await self._calls.answer(scope, number)
                    if f'"chatcmpl-{name}"'.encode() in answer.body:
                        return True
        return False

    def _agents(self, execution: str) -> list[str]:
        """Return the agents whose calls are in the journal: guests that are no Python name them in their own way."""
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT DISTINCT agent FROM calls WHERE execution = ?", (execution,))
            return [str(agent) for (agent,) in found]

    async def has_result(self, execution: str, tool: str, arguments: Mapping[str, Json]) -> bool:
        """Return whether the result of a tool call is recorded for an execution."""
        step = step_identity(tool, arguments)
        found = await self._steps.lookup(StepLookup(execution=execution, step=step, occurrence=0, once=False))
        return found.state == "finished"

    async def close(self) -> None:
        """Release the files."""
        await self._calls.close()
        await self._steps.close()
