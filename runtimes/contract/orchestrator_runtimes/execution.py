"""One execution as the guest sees it: its request, its limits, its usage, and the way to tell what happens."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Final, NoReturn, TypeVar

from orchestrator_runtimes.connection import Connection
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import (
    LOG_CHARACTERS,
    Event,
    EventNotification,
    Log,
    Message,
    ModelCall,
    StateSaved,
    ToolCall,
)
from orchestrator_runtimes.messages import Done, Run, State, StateGet, StatePut, ToolApproval, Usage
from orchestrator_runtimes.tool_rules import ToolRules

STATE_SECONDS: Final = 30.0
LOG_LINES: Final = 1_000
"""Log events of one execution; further lines go to the guest's standard error only."""


Answer = TypeVar("Answer")


class ExecutionStopped(BaseException):
    """Ends the agent's code from inside: a limit was crossed or the execution was cancelled.

    It is no `Exception`, so that a framework that turns every exception into an answer does not turn this one.
    """

    def __init__(self, error: AgentError) -> None:
        """Stop because of `error`."""
        super().__init__(error)
        self.error = error


class WaitsForDecision(AgentError):
    """Stops an execution whose tools wait for people's decisions: no failure, but its end for now."""


@dataclass
class _Fault:
    error: AgentError
    ended: int


class Execution:
    """What an adapter is given to run an agent with.

    Safe to use from the loop and from threads that the agent starts: the context variable `CURRENT` follows both.

    Attributes:
        run: The request.
        tool_rules: Of a native agent's own tools.
        failed_tools: Messages of tools that raised, by name, for adapters to tell a tool's fault from the framework's.
    """

    def __init__(
        self,
        run: Run,
        connection: Connection,
        *,
        tool_rules: ToolRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start counting; `clock` is in seconds."""
        self.run = run
        self.tool_rules = tool_rules or ToolRules()
        self.failed_tools: dict[str, str] = {}
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._usage = Usage()
        self._stopped: AgentError | None = None
        self._fault: _Fault | None = None
        self._moments = count()
        self._sequence = count()
        self._log_lines = 0
        self._half_lines: dict[int, str] = {}
        self._state_version = 0
        self._step_counts: dict[str, int] = {}
        self._tools_running = 0
        self._tools_ended = asyncio.Event()
        self._requests: list[ToolApproval] = []

    @property
    def usage(self) -> Usage:
        """What was consumed so far."""
        return self._usage

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return self._clock() - self._began

    @property
    def seconds_left(self) -> float:
        """Wall time until the limit; never negative."""
        return max(0.0, self.run.limits.seconds - self.seconds)

    @property
    def stopped(self) -> AgentError | None:
        """Why the execution must end; None while it may go on."""
        return self._stopped

    @property
    def requests(self) -> Sequence[ToolApproval]:
        """The tool calls that wait for decisions."""
        return self._requests

    @property
    def model_fault(self) -> AgentError | None:
        """The last fault of a model call that no later call made good; None when there is none."""
        return self._fault.error if self._fault else None

    def stop(self, error: AgentError) -> None:
        """Make every further model and tool call raise; the first reason counts."""
        with self._lock:
            self._stopped = self._stopped or error

    def check(self) -> None:
        """Raise when the execution must end.

        Raises:
            ExecutionStopped: It was stopped, or its seconds are over.
        """
        if self.seconds_left <= 0:
            seconds = self.run.limits.seconds
            self.stop(
                AgentError(ErrorCode.TIMEOUT, f"the execution ran longer than its limit of {seconds} s")
            )
        if self._stopped is not None:
            raise ExecutionStopped(self._stopped)

    def begin_model_call(self) -> int:
        """Count a model call and return its moment, for `end_model_call`.

        Raises:
            ExecutionStopped: The execution was stopped or may make no further call.
        """
        self.check()
        limits = self.run.limits
        with self._lock:
            calls = self._usage.model_calls
            if calls < limits.steps:
                self._count(model_calls=1)
        if calls >= limits.steps:
            self._exceed(
                "steps", limits.steps, "model calls: the agent may be in a loop, or needs a higher limit"
            )
        return next(self._moments)

    def end_model_call(
        self, began: int, *, model: str, seconds: float, usage: Usage | None, error: AgentError | None
    ) -> ModelCall:
        """Account for the end of a model call and return its event, for the caller to emit.

        Args:
            began: From `begin_model_call`.
            model: Name that was asked for.
            seconds: Duration.
            usage: Tokens of this call; None when the endpoint told none.
            error: None when the answer was usable.
        """
        with self._lock:
            if usage is not None:
                self._count(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
            elif error is None:
                self._count(unmetered_calls=1)
            if error is not None:
                self._fault = _Fault(error, next(self._moments))
            elif self._fault is not None and began > self._fault.ended:
                self._fault = None
            tokens = self._usage.input_tokens + self._usage.output_tokens
        limit = self.run.limits.tokens
        if error is not None and error.code is ErrorCode.BUDGET_EXCEEDED:
            self.stop(error)  # else a framework that goes on after a fault asks again and again
        if limit is not None and tokens > limit:
            self.stop(_exceeded("tokens", limit, f"tokens: {tokens} were used"))
        return ModelCall(
            model=model,
            seconds=seconds,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            error=error.code if error else None,
        )

    def begin_tool_call(self, name: str) -> None:
        """Count a call of the tool `name`.

        Raises:
            ExecutionStopped: The execution was stopped or may make no further call.
        """
        self.check()
        limit = self.run.limits.tool_calls
        with self._lock:
            calls = self._usage.tool_calls
            if calls < limit:
                self._count(tool_calls=1)
        if calls >= limit:
            self._exceed("tool_calls", limit, f"tool calls, the next was {name!r}")

    def end_tool_call(
        self, name: str, seconds: float, error: str | None, *, replayed: bool = False
    ) -> ToolCall:
        """Account for the end of a tool call and return its event, for the caller to emit."""
        if error is not None:
            self.failed_tools[name] = error
        return ToolCall(name=name, seconds=seconds, error=error and error[:LOG_CHARACTERS], replayed=replayed)

    @contextlib.contextmanager
    def tool_running(self) -> Generator[None]:
        """Note that a portable tool is running, on the worker's loop."""
        self._tools_running += 1
        try:
            yield
        finally:
            self._tools_running -= 1
            self._tools_ended.set()

    async def wait_for_decision(self, request: ToolApproval) -> NoReturn:
        """End the execution as interrupted, once the tools that run beside this one have ended and are recorded.

        Raises:
            ExecutionStopped: Always.
        """
        self._requests.append(request)
        self._tools_ended.set()  # those that wait already need not wait for this one
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds_left):
                while self._tools_running > len(self._requests) and self._stopped is None:
                    self._tools_ended.clear()
                    await self._tools_ended.wait()
        if self.seconds_left > 0:
            self.stop(WaitsForDecision(ErrorCode.CANCELLED, "the execution waits for a decision"))
        self.check()
        raise AssertionError("a stopped execution raises")

    def next_occurrence(self, step: str) -> int:
        """Return how often `step` was asked for before in this execution, and count it."""
        with self._lock:
            self._step_counts[step] = occurrence = self._step_counts.get(step, -1) + 1
        return occurrence

    def _exceed(self, name: str, limit: int, what: str) -> None:
        self.stop(_exceeded(name, limit, what))
        self.check()

    def _count(
        self,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        *,
        model_calls: int = 0,
        tool_calls: int = 0,
        unmetered_calls: int = 0,
    ) -> None:
        """Add to the usage; the lock is held."""
        now = self._usage
        self._usage = Usage(
            input_tokens=now.input_tokens + input_tokens,
            output_tokens=now.output_tokens + output_tokens,
            cached_tokens=now.cached_tokens + cached_tokens,
            model_calls=now.model_calls + model_calls,
            tool_calls=now.tool_calls + tool_calls,
            unmetered_calls=now.unmetered_calls + unmetered_calls,
        )

    async def emit(self, event: Event) -> None:
        """Tell what happened, from any loop; waits while the trusted side is slow to read."""
        if self._connection.closed:
            return
        telling = self._connection.notify("event", self._notification(event))
        if threading.get_ident() == self._loop_thread:
            await telling
        else:  # a loop that the agent's code runs in a thread: the connection belongs to the worker's
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(telling, self._loop))

    def emit_from_thread(self, event: Event) -> None:
        """Tell what happened, from synchronous code.

        In a thread it waits while the trusted side is slow to read; on the loop's own thread it cannot wait.
        """
        if threading.get_ident() == self._loop_thread:
            self._connection.post("event", self._notification(event))
        elif not self._loop.is_closed():
            told = asyncio.run_coroutine_threadsafe(self.emit(event), self._loop)
            told.result(timeout=self.seconds_left + STATE_SECONDS)

    def add_text(self, text: str) -> list[str]:
        """Take text that the calling thread printed and return the lines that are whole now."""
        with self._lock:
            *lines, rest = (self._half_lines.pop(threading.get_ident(), "") + text).split("\n")
            if len(rest) > LOG_CHARACTERS:
                lines, rest = [*lines, rest], ""
            if rest:
                self._half_lines[threading.get_ident()] = rest
        return [line for line in lines if line]

    async def end_log(self) -> None:
        """Tell what was printed without a line's end; call once, when the agent's code has ended."""
        with self._lock:
            rest, self._half_lines = list(self._half_lines.values()), {}
        for line in rest:
            self.log(line)

    def log(self, text: str) -> bool:
        """Tell a line that the agent's code printed; False when this execution has told enough of them."""
        with self._lock:
            self._log_lines += 1
            told = self._log_lines <= LOG_LINES
        if told:
            last = (
                " [further lines are in the guest's standard error]" if self._log_lines == LOG_LINES else ""
            )
            event = self._notification(Log(text=text[:LOG_CHARACTERS] + last))
            # posted without waiting, as the bound on lines allows: whoever prints may hold a lock that the loop needs
            if threading.get_ident() == self._loop_thread:
                self._connection.post("event", event)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._connection.post, "event", event)
        return told

    def _notification(self, event: Event) -> EventNotification:
        if isinstance(event, Message) and len(event.text) > LOG_CHARACTERS:
            event = Message(text=event.text[:LOG_CHARACTERS] + "…", agent=event.agent)
        return EventNotification(
            execution=self.run.execution, sequence=next(self._sequence), time=time.time(), event=event
        )

    async def load_state(self) -> str | None:
        """Return what `save_state` stored last in this session; None when the session is new or there is none.

        Raises:
            AgentError: `state_unavailable` when the trusted side cannot read it.
        """
        if self.run.session is None:
            return None
        state = await self._ask("state.get", StateGet(execution=self.run.execution), State)
        self._state_version = state.version
        return state.text

    async def save_state(self, text: str) -> None:
        """Store the session's state; does nothing without a session.

        Raises:
            AgentError: `state_unavailable` when it cannot be stored, or another execution stored its own since.
        """
        if self.run.session is None:
            return
        put = StatePut(execution=self.run.execution, text=text, version=self._state_version)
        await self._ask("state.put", put, Done)
        self._state_version += 1
        await self.emit(StateSaved(characters=len(text)))

    async def _ask(self, method: str, params: object, answer: type[Answer]) -> Answer:
        try:
            return await self._connection.call(method, params, answer, timeout=STATE_SECONDS)
        except AgentError as error:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"the session {self.run.session!r} is not available",
                cause=str(error),
            ) from error

    @property
    def on_loop(self) -> bool:
        """Whether the calling code runs in the thread of the worker's loop."""
        return threading.get_ident() == self._loop_thread

    async def call_host(self, method: str, params: object, answer: type[Answer]) -> Answer:
        """Send a request of the contract to the trusted side, from any loop, and return its answer.

        Raises:
            AgentError: As `Connection.call`.
        """
        asking = self._connection.call(method, params, answer, timeout=STATE_SECONDS)
        if self.on_loop:
            return await asking
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._loop))

    def call_host_from_thread(self, method: str, params: object, answer: type[Answer]) -> Answer:
        """Do the same from a thread other than the loop's own.

        Raises:
            AgentError: As `Connection.call`.
        """
        asking = self._connection.call(method, params, answer, timeout=STATE_SECONDS)
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result(timeout=2 * STATE_SECONDS)


def _exceeded(name: str, allowed: int, what: str) -> AgentError:
    return AgentError(
        ErrorCode.LIMIT_EXCEEDED,
        f"the execution may make no more than {allowed} {what}; raise limits.{name} if that is right",
        detail={"limit": name, "allowed": allowed},
    )


CURRENT: ContextVar[Execution | None] = ContextVar("orchestrator_execution", default=None)
"""The execution that the running code belongs to; None outside of any."""
