"""What LangChain tells while a graph runs: native tools are counted here, and tokens passed on."""

import time
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler

from orchestrator_runtimes.execution import Execution


class NativeTools(AsyncCallbackHandler):
    """Counts and tells the calls of a native agent's own tools.

    It runs inline, so that a limit stops the tool before it starts.
    """

    run_inline = True
    raise_error = True

    def __init__(self, execution: Execution) -> None:
        """Begin with no call."""
        self._execution = execution
        self._running: dict[UUID, tuple[str, float]] = {}

    async def on_tool_start(
        self, serialized: dict[str, Any], input_str: str, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Count a call."""
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        self._execution.begin_tool_call(name)
        self._running[run_id] = name, time.monotonic()

    async def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Tell a call that returned; a result with the status `error` is one that was told to the model."""
        error = str(output.content) if getattr(output, "status", None) == "error" else None
        await self._end(run_id, error)

    async def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Tell a call that raised."""
        await self._end(run_id, f"{type(error).__name__}: {error}")

    async def _end(self, run_id: UUID, error: str | None) -> None:
        name, began = self._running.pop(run_id, ("tool", time.monotonic()))
        await self._execution.emit(self._execution.end_tool_call(name, time.monotonic() - began, error))
