"""What gateway and host of a trial have recorded durably, read from outside while they live or are dead."""

from collections.abc import Mapping
from contextlib import suppress
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
        agent: Digest of the agent: the gateway's scope.
    """

    def __init__(self, state: Path, agent: str) -> None:
        """Open them."""
        self._agent = agent
        self._calls = SqliteJournal(state / CALLS)
        self._steps = SqliteSteps(state / STEPS)

    async def has_answer(self, execution: str, name: str, most: int) -> bool:
        """Return whether the answer with a name is recorded for an execution; `most` calls were begun in this trial."""
        scope = Scope(tenant=TENANT, execution=execution, agent=self._agent)
        for number in range(1, most + 1):
            with suppress(KeyError):
                answer = await self._calls.answer(scope, number)
                if f'"chatcmpl-{name}"'.encode() in answer.body:
                    return True
        return False

    async def has_result(self, execution: str, tool: str, arguments: Mapping[str, Json]) -> bool:
        """Return whether the result of a tool call is recorded for an execution."""
        step = step_identity(tool, arguments)
        found = await self._steps.lookup(StepLookup(execution=execution, step=step, occurrence=0, once=False))
        return found.state == "finished"

    async def close(self) -> None:
        """Release the files."""
        await self._calls.close()
        await self._steps.close()
