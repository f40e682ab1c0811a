"""Where executions ask people: guests while tools run, batches when an execution has ended as interrupted."""

import asyncio
import contextlib
from collections.abc import Generator, Mapping, Sequence

from orchestrator_resources.approvals import Approvals, Asker, Request, by_execution
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Approval, ApprovalAsk


class ApprovalDesk:
    """Answers the guests of one process; see `client.ApprovalDesk`."""

    def __init__(self, approvals: Approvals) -> None:
        """Begin with no execution that may ask."""
        self._approvals = approvals
        self._askers: dict[str, Asker] = {}

    async def ask(self, request: ApprovalAsk) -> Approval:
        """Say what was decided about a tool call.

        Raises:
            AgentError: `state_unavailable` for an execution whose asset is not known, for nobody could find it.
        """
        asker = self._askers.get(request.execution)
        if asker is None:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"the execution {request.execution!r:.80} has no asset to ask for",
            )
        return await asyncio.to_thread(self._approvals.ask, request, asker)

    @contextlib.contextmanager
    def open(self, askers: Mapping[str, Asker]) -> Generator["Questions"]:
        """Let executions ask for a while; `askers` are by execution."""
        self._askers.update(askers)
        try:
            yield Questions(self._approvals, askers)
        finally:
            for execution in askers:
                self._askers.pop(execution, None)


class Questions:
    """What the executions of one batch ask; see `execution_batches.Questions`."""

    def __init__(self, approvals: Approvals, askers: Mapping[str, Asker]) -> None:
        """Take the askers by execution."""
        self._approvals = approvals
        self._askers = askers

    def standing(self, executions: Sequence[str]) -> Mapping[str, Sequence[Request]]:
        """Return what executions asked before; what waits of it is the batch's from now on."""
        runs = {asker.run for asker in self._askers.values()}
        return by_execution(self._approvals.take_up(executions, run=next(iter(runs), "")))

    def waiting(self, execution: str, output: Json) -> Sequence[Request]:
        """Return what an interrupted execution waits for; where no tool asked, that is what its framework says.

        Raises:
            AgentError: `limit_exceeded` when it asks too much or too long, `framework_error` when it may ask nobody.
        """
        asked = self._approvals.of_executions([execution])
        waiting = [request for request in asked if request.decision is None]
        if waiting:
            return waiting
        if execution not in self._askers:
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR,
                f"the execution {execution!r:.80} waits, and has no asset to ask for",
            )
        return [self._approvals.ask_native(execution, output, self._askers[execution])]
