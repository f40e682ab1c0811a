"""Calls of a native agent's own tools in the journal: a retry takes the result of a finished one and does not run it.

An adapter makes a `NativeCall` where its framework calls a tool, asks `look_up`, and hands the result to `record`.
Only results that are text or plain JSON are kept, since a retry must get the very same; a tool that returns anything
else, that raises, or that is given the framework's own state runs again in a retry. One in `ToolRules.once` does not:
there a result that is not known ends the execution.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import Execution, ExecutionStopped
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import Done, Step, StepLookup, StepRecord
from orchestrator_runtimes.tools import step_identity, unknown_result

KEPT_CHARACTERS: Final = 1_000_000
"""Longest result, as JSON, that is kept."""


class NativeCall:
    """One call of a tool.

    Attributes:
        result: What an earlier try got, after `look_up` has returned True.
    """

    def __init__(
        self, execution: Execution, name: str, arguments: Mapping[str, Any], *, stateful: bool = False
    ) -> None:
        """Describe a call.

        Args:
            execution: Whose call it is.
            name: What the model calls the tool.
            arguments: What it is called with; equal ones that are no JSON are told apart by their order alone.
            stateful: Whether it is given the framework's own state, which it may change.
        """
        rules = execution.tool_rules
        self.result: Json = None
        self._execution = execution
        self._name = name
        self._arguments = arguments
        self._once = name in rules.once
        skipped = not self._once and (stateful or name in rules.again)
        self._journaled = execution.run.journal and not skipped
        self._identity, self._occurrence = "", 0

    async def look_up(self) -> bool:
        """Return whether an earlier try finished the call.

        Raises:
            ExecutionStopped: The tool may run only once and an earlier try began it, or the journal does not answer.
        """
        if not self._journaled:
            return False
        try:
            return self._take(await self._execution.call_host("step.lookup", self._lookup(), Step))
        except AgentError as error:
            raise self._stopped(error) from error

    def look_up_from_thread(self) -> bool:
        """Do the same in synchronous code; see `look_up`."""
        if not self._journaled:
            return False
        try:
            if self._execution.on_loop:
                return self._without_journal()
            return self._take(self._execution.call_host_from_thread("step.lookup", self._lookup(), Step))
        except AgentError as error:
            raise self._stopped(error) from error

    async def record(self, result: object) -> None:
        """Keep the result of a call that has returned; nothing is kept of one that cannot be given again.

        Raises:
            ExecutionStopped: The journal does not answer.
        """
        record = self._record(result)
        if record is not None:
            try:
                await self._execution.call_host("step.record", record, Done)
            except AgentError as error:
                raise self._stopped(error) from error

    def record_from_thread(self, result: object) -> None:
        """Do the same in synchronous code; see `record`."""
        record = self._record(result)
        if record is not None:
            try:
                self._execution.call_host_from_thread("step.record", record, Done)
            except AgentError as error:
                raise self._stopped(error) from error

    def _lookup(self) -> StepLookup:
        try:
            self._identity = step_identity(self._name, self._arguments)
        except NotJson:
            self._identity = step_identity(self._name, {})
        self._occurrence = self._execution.next_occurrence(self._identity)
        return StepLookup(
            execution=self._execution.run.execution,
            step=self._identity,
            occurrence=self._occurrence,
            once=self._once,
        )

    def _take(self, step: Step) -> bool:
        if step.state == "finished":
            self.result = parse((step.result or "null").encode())
            return True
        if step.state == "started" and self._once:
            raise unknown_result(self._name)
        return False

    def _without_journal(self) -> bool:
        """Let a call pass that is made on the loop, which waits for it and could hear no answer of the journal."""
        if self._once:
            raise AgentError(
                ErrorCode.TOOL_FAILED,
                f"the tool {self._name!r} may run only once and is called synchronously on the event loop, where it"
                " cannot be journaled: run its agent asynchronously, or in a thread",
                detail={"tool": self._name},
            )
        self._journaled = False
        return False

    def _record(self, result: object) -> StepRecord | None:
        if not self._journaled or not _plain(result):
            return None
        try:
            text = dump(result).decode()
        except NotJson:
            return None
        if len(text) > KEPT_CHARACTERS:
            return None
        return StepRecord(
            execution=self._execution.run.execution,
            step=self._identity,
            occurrence=self._occurrence,
            result=text,
        )

    def _stopped(self, error: AgentError) -> ExecutionStopped:
        """End the execution: a framework would tell the error to the model, which would only call the tool again."""
        self._execution.stop(error)
        return ExecutionStopped(error)


def _plain(value: object) -> bool:
    """Return whether JSON gives back the very same value: no subclass, no tuple, no key that is no text."""
    if type(value) in (str, int, float, bool, type(None)):
        return True
    if type(value) is list:
        return all(map(_plain, cast("list[object]", value)))
    if type(value) is dict:
        members = cast("dict[object, object]", value)
        return all(type(key) is str and _plain(member) for key, member in members.items())
    return False
