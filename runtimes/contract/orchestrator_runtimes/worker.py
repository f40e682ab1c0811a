"""The guest's side of the contract: one process, one event loop, many executions of one framework's agents."""

import asyncio
import contextlib
import gc
import importlib
import platform
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from orchestrator_runtimes import attribution, model_calls
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.agents import AgentLoader, LoadedAgent
from orchestrator_runtimes.codec import decode, encode
from orchestrator_runtimes.connection import BUSY, INVALID_REQUEST, Connection, Refused, UsageError
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import ApprovalRequested, Failed, Finished, Started
from orchestrator_runtimes.execution import CURRENT, Execution, ExecutionStopped, WaitsForDecision
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import (
    CONTRACT_VERSION,
    MESSAGE_BYTES,
    Cancel,
    Cancelled,
    Done,
    FinishReason,
    Initialize,
    Initialized,
    Load,
    Loaded,
    Result,
    Resume,
    Run,
    Shutdown,
)
from orchestrator_runtimes.output_schemas import mismatch

STOP_SECONDS: Final = 5.0
"""How long cancelled work may take to end before the worker answers without it."""

_SPARE_REQUESTS: Final = 32
_SPARE_THREADS: Final = 16


def make_adapter(name: str) -> Adapter:
    """Import `module:Class` and return an adapter of that class.

    Raises:
        AgentError: `framework_error` when it is not there, is no adapter, or the framework cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
        adapter = kind()
    except Exception as error:  # the boundary: importing a framework runs code that is not ours
        raise AgentError(
            ErrorCode.FRAMEWORK_ERROR,
            f"the adapter {name!r} cannot start",
            cause=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(adapter, Adapter):
        raise AgentError(ErrorCode.FRAMEWORK_ERROR, f"{name!r} is no adapter")
    return adapter


class Worker:
    """Serves the contract on a listening socket until it is told to stop.

    Args:
        adapter: Of the framework.
        folder: Where it may write: bundles, and what the agents write.
        max_executions: How many executions it runs at once; one more is refused as busy.
    """

    def __init__(self, adapter: Adapter, *, folder: Path, max_executions: int) -> None:
        """Prepare; call inside a running loop."""
        self._adapter = adapter
        self._loader = AgentLoader(adapter, folder / "bundles")
        self._max_executions = max_executions
        self._executions: dict[str, tuple[Execution, asyncio.Future[Outcome]]] = {}
        self._connections: set[Connection] = set()
        self._stopping = asyncio.Event()
        self._grace = STOP_SECONDS
        loop = asyncio.get_running_loop()
        loop.set_default_executor(
            ThreadPoolExecutor(max_executions + _SPARE_THREADS, thread_name_prefix="execution")
        )
        attribution.install()
        model_calls.install()
        gc.freeze()  # what the framework's import left, up to a million objects, is not looked through again and again

    async def serve(self, server: asyncio.Server) -> None:
        """Serve until `stop`, then let executions finish within the grace period and hand the rest back."""
        await self._stopping.wait()
        server.close()
        await self._drain()
        for connection in list(self._connections):
            await connection.close()

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Begin to stop: no new execution is accepted."""
        self._grace = grace_seconds
        self._stopping.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; its executions end with it."""
        connection = _Session(self, reader, writer).connection
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    def describe(self) -> Initialized:
        """Return what `initialize` answers."""
        profile = self._adapter.profile
        return Initialized(
            contract=CONTRACT_VERSION,
            framework=profile.name,
            framework_version=self._adapter.framework_version(),
            python=platform.python_version(),
            capabilities={capability.value: support for capability, support in profile.capabilities.items()},
            max_executions=self._max_executions,
            cancel=profile.cancel,
        )

    async def load(self, request: Load) -> Loaded:
        """Make an agent ready."""
        loaded = await self._loader.load(request)
        if loaded is None:
            return Loaded()
        return Loaded(agent=loaded[0], native_type=loaded[1].native_type)

    async def run(self, run: Run, connection: Connection, decision: Json, *, resume: bool) -> Result:
        """Run one execution to its end.

        Raises:
            Refused: The worker is full or stopping, or the execution runs already.
            UsageError: The execution failed.
        """
        if self._stopping.is_set() or len(self._executions) >= self._max_executions:
            raise Refused(BUSY, f"this runtime runs {len(self._executions)} executions and takes no more")
        if run.execution in self._executions:
            raise Refused(INVALID_REQUEST, f"the execution {run.execution!r:.100} is running already")
        agent = self._loader.get(run.agent)
        execution = Execution(run, connection, tool_rules=agent.tool_rules)
        CURRENT.set(execution)  # this request is a task of its own, so its context is too
        if resume:
            work = self._adapter.resume(agent.native, execution, decision)
        else:
            work = self._adapter.run(agent.native, execution)
        inner = asyncio.ensure_future(_contained(work))
        self._executions[run.execution] = execution, inner
        try:
            await execution.emit(Started())
            outcome = await self._outcome(agent, execution, inner)
            await execution.end_log()
            return await self._finish(agent, execution, outcome)
        except AgentError as error:
            await execution.end_log()
            await execution.emit(Failed(code=error.code, message=error.message, usage=execution.usage))
            raise UsageError(error, execution.usage) from error
        finally:
            # whatever ended it: code that still runs must make no further call
            execution.stop(AgentError(ErrorCode.CANCELLED, "the execution is over"))
            inner.cancel()
            del self._executions[run.execution]

    def cancel(self, execution: str) -> bool:
        """Cancel an execution; False when it does not run."""
        return self._end(execution, AgentError(ErrorCode.CANCELLED, "the execution was cancelled"))

    def _end(self, name: str, why: AgentError) -> bool:
        if name not in self._executions:
            return False
        execution, inner = self._executions[name]
        execution.stop(why)
        inner.cancel()
        return True

    async def _drain(self) -> None:
        running = [inner for _, inner in self._executions.values()]
        if running:
            await asyncio.wait(running, timeout=self._grace)
        handed_back = AgentError(
            ErrorCode.RUNTIME_CRASHED, "the runtime was told to stop before the execution ended"
        )
        for name in list(self._executions):
            self._end(name, handed_back)
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS + 1
        while self._executions and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    async def _outcome(
        self, agent: LoadedAgent, execution: Execution, inner: "asyncio.Future[Outcome]"
    ) -> Outcome:
        """Wait for the adapter within the execution's seconds, and decide what really happened."""
        try:
            await asyncio.wait({inner}, timeout=execution.seconds_left)
            if not inner.done():
                with contextlib.suppress(ExecutionStopped):
                    execution.check()
                inner.cancel()
                await asyncio.wait({inner}, timeout=STOP_SECONDS)
        except asyncio.CancelledError:  # the connection ended
            execution.stop(AgentError(ErrorCode.CANCELLED, "the trusted side is gone"))
            raise
        if execution.stopped is not None:
            if inner.done() and not inner.cancelled():
                inner.exception()  # seen, so that asyncio does not report it as lost
            if isinstance(execution.stopped, WaitsForDecision):
                waiting = [encode(request) for request in execution.requests]
                return Outcome(output=waiting, finish_reason=FinishReason.INTERRUPTED)
            raise execution.stopped
        if inner.cancelled():
            raise AgentError(ErrorCode.FRAMEWORK_ERROR, "the agent cancelled its own task")
        if (error := inner.exception()) is not None:
            raise self._error(execution, error)
        if execution.model_fault is not None:
            raise execution.model_fault
        return inner.result()

    def _error(self, execution: Execution, error: BaseException) -> AgentError:
        cause = f"{type(error).__name__}: {error}"
        if isinstance(error, AgentError):
            return error
        if isinstance(error, ExecutionStopped):
            return error.error
        if execution.model_fault is not None:
            fault = execution.model_fault
            return AgentError(fault.code, fault.message, cause=fault.cause or cause, detail=fault.detail)
        translated = self._adapter.translate(error) if isinstance(error, Exception) else None
        if translated is not None:
            return translated
        for name, message in execution.failed_tools.items():
            if str(error) and str(error) in message:
                return AgentError(
                    ErrorCode.TOOL_FAILED, f"the tool {name!r} raised", cause=cause, detail={"tool": name}
                )
        if isinstance(error, SystemExit):
            return AgentError(ErrorCode.FRAMEWORK_ERROR, "the agent tried to end the process", cause=cause)
        return AgentError(ErrorCode.FRAMEWORK_ERROR, f"{self._adapter.profile.title} failed", cause=cause)

    async def _finish(self, agent: LoadedAgent, execution: Execution, outcome: Outcome) -> Result:
        output = _checked_output(agent, execution.run, outcome)
        if execution.requests and outcome.finish_reason is FinishReason.INTERRUPTED:
            for request in execution.requests:
                await execution.emit(ApprovalRequested(request=encode(request)))
        elif outcome.finish_reason is FinishReason.INTERRUPTED:
            if execution.run.session is None:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    "the agent waits for a decision, and the execution has no session that could keep what it did:"
                    " run it in a session",
                )
            await execution.emit(ApprovalRequested(request=output))
        await execution.emit(Finished(finish_reason=outcome.finish_reason, usage=execution.usage))
        return Result(
            output=output,
            finish_reason=outcome.finish_reason,
            usage=execution.usage,
            seconds=execution.seconds,
            native=outcome.native,
        )


async def _contained(work: Awaitable[Outcome]) -> Outcome:
    """Keep an agent's `sys.exit` from ending the loop: asyncio would let it through, and KeyboardInterrupt too."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise AgentError(
            ErrorCode.FRAMEWORK_ERROR,
            "the agent tried to end the process",
            cause=f"{type(error).__name__}: {error}",
        ) from error


def _checked_output(agent: LoadedAgent, run: Run, outcome: Outcome) -> Json:
    try:
        text = dump(outcome.output)
        output = parse(text)
    except NotJson as error:
        raise AgentError(
            ErrorCode.OUTPUT_SCHEMA_MISMATCH,
            "the agent's output is not JSON; return text, numbers, lists and objects only",
            cause=str(error),
        ) from error
    if len(text) > run.limits.output_bytes:
        raise AgentError(
            ErrorCode.LIMIT_EXCEEDED,
            f"the output has {len(text)} bytes, above limits.output_bytes of {run.limits.output_bytes};"
            " store the data and return a reference",
            detail={"limit": "output_bytes", "allowed": run.limits.output_bytes},
        )
    portable = agent.source.portable
    if outcome.finish_reason is FinishReason.COMPLETED:
        for schema in (portable.output_schema if portable else None, run.output_schema):
            if schema is not None and (reason := mismatch(schema, output)):
                raise AgentError(
                    ErrorCode.OUTPUT_SCHEMA_MISMATCH,
                    "the agent's output does not match its schema",
                    cause=reason,
                )
    return output


class _Session:
    """One connection to a worker: nothing but `initialize` is answered before it."""

    def __init__(self, worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._worker = worker
        self._initialized = False
        self.connection = Connection(
            reader,
            writer,
            handlers={
                "initialize": self._initialize,
                "load": self._load,
                "run": self._run,
                "resume": self._resume,
                "cancel": self._cancel,
                "shutdown": self._shutdown,
            },
            notifications={},
            message_bytes=MESSAGE_BYTES,
            requests=worker.describe().max_executions + _SPARE_REQUESTS,
        )

    async def _initialize(self, params: Json) -> Initialized:
        request = decode(Initialize, params, "initialize")
        major = CONTRACT_VERSION.partition(".")[0]
        if self._initialized:
            raise Refused(INVALID_REQUEST, "this connection is initialized already")
        if request.contract.partition(".")[0] != major:
            raise Refused(
                INVALID_REQUEST,
                f"this runtime speaks contract {CONTRACT_VERSION}, the other side {request.contract!r:.20}:"
                " install versions of the same major number",
            )
        self.connection.peer_message_bytes = request.message_bytes
        self._initialized = True
        return self._worker.describe()

    def _decode(self, kind: type[Any], params: Json, method: str) -> Any:
        if not self._initialized:
            raise Refused(INVALID_REQUEST, f"{method!r} before 'initialize'")
        return decode(kind, params, method)

    async def _load(self, params: Json) -> Loaded:
        return await self._worker.load(self._decode(Load, params, "load"))

    async def _run(self, params: Json) -> Result:
        return await self._worker.run(self._decode(Run, params, "run"), self.connection, None, resume=False)

    async def _resume(self, params: Json) -> Result:
        request: Resume = self._decode(Resume, params, "resume")
        return await self._worker.run(request.run, self.connection, request.decision, resume=True)

    async def _cancel(self, params: Json) -> Cancelled:
        return Cancelled(known=self._worker.cancel(self._decode(Cancel, params, "cancel").execution))

    async def _shutdown(self, params: Json) -> Done:
        self._worker.stop(self._decode(Shutdown, params, "shutdown").grace_seconds)
        return Done()
