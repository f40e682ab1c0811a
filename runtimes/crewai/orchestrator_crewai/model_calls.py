"""How CrewAI calls its models inside a guest: once for each call, quietly, and streamed when tokens are asked for.

The seams are checked against CrewAI 1.15.30; the conformance suite fails when one moves.
"""

import functools
import logging
from pathlib import Path
from typing import Any, Final

from crewai import Agent, Task, llms
from crewai.events import LLMStreamChunkEvent, crewai_event_bus
from crewai.events.utils.console_formatter import set_suppress_console_output
from crewai.flow import runtime
from crewai.llms import retry
from crewai.llms.base_llm import BaseLLM

from orchestrator_runtimes.events import Token
from orchestrator_runtimes.execution import CURRENT

_PROVIDERS: Final = str(Path(llms.__file__).with_name("providers"))
"""Folder of the modules that log failed model calls, on the root logger."""

_RETRYING: Final = retry._active_llm_rate_limit_retry  # pyright: ignore[reportPrivateUsage]  # the only switch there is
"""True while a call is tried again; a call that finds it so is not tried again itself."""


def call_once() -> None:
    """Switch off, for the current execution, that CrewAI sends a refused request up to three times."""
    _RETRYING.set(True)


def try_once() -> None:
    """Switch off that an agent begins its task again when it failed, as `max_retry_limit` says; idempotent."""
    check = Agent._check_execution_error  # pyright: ignore[reportPrivateUsage]  # where tries are counted
    if hasattr(check, "__wrapped__"):
        return

    @functools.wraps(check)
    def last(self: Agent, e: Exception, task: Task) -> None:
        self._times_executed = self.max_retry_limit  # pyright: ignore[reportPrivateUsage]  # as above
        check(self, e, task)

    Agent._check_execution_error = last  # type: ignore[method-assign]  # the seam itself


def say_nothing(*, verbose: bool) -> None:
    """Keep CrewAI's panels from the console, for the current execution, unless its author asked for them."""
    set_suppress_console_output(not verbose)


def log_quietly() -> None:
    """Drop what CrewAI logs of each model call: that it estimates lengths, and failures, which their code tells."""
    logging.getLogger(BaseLLM.__module__).setLevel(logging.ERROR)
    logging.getLogger(runtime.__name__).setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_not_of_providers)


def _not_of_providers(record: logging.LogRecord) -> bool:
    return not record.pathname.startswith(_PROVIDERS)


def stream_on_demand() -> None:
    """Stream the calls of executions that ask for tokens, and tell the tokens; idempotent."""
    effective = BaseLLM._effective_stream  # pyright: ignore[reportPrivateUsage]  # where the call's mode is decided
    if hasattr(effective, "__wrapped__"):
        return

    @functools.wraps(effective)
    def asked(self: BaseLLM) -> bool | None:
        execution = CURRENT.get()
        return True if execution is not None and execution.run.stream else effective(self)

    BaseLLM._effective_stream = asked  # type: ignore[method-assign]  # the seam itself

    @crewai_event_bus.on(LLMStreamChunkEvent)
    def tell(source: Any, event: LLMStreamChunkEvent) -> None:  # pyright: ignore[reportUnusedFunction]  # registered
        # chunks are handled in the caller's own thread and context
        execution = CURRENT.get()
        if execution is not None and execution.run.stream and event.chunk and event.tool_call is None:
            execution.emit_from_thread(Token(text=event.chunk))
