"""The guest under test and the scripted model it talks to, for synchronous test functions."""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator_runtimes import bundles
from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.client import Bundle, RuntimeClient
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.stores import MemoryApprovals, MemoryJournal, MemorySessions
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand, guest_address
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import (
    AgentSource,
    Limits,
    ModelAddress,
    PortableAgent,
    Result,
    Run,
    ToolSource,
)
from orchestrator_runtimes.profiles import FrameworkProfile

T = TypeVar("T")

SECONDS: Final = 60.0
MARKER: Final = r"EXEC-\d+"
"""What a prompt carries so that an answer meant for another execution shows."""

_CONTRACT: Final = "orchestrator_runtimes"


@dataclass(frozen=True, kw_only=True)
class NativeCase:
    """A native agent that an adapter ships for the suite, as an entry of `native_agents/cases.json`.

    Attributes:
        name: Shown as the test's name.
        entrypoint: In the folder `native_agents`.
        script: Fields of the model's `Script`.
        inputs: What the agent gets; `EXEC-0` in it is replaced by a marker that its prompts must carry.
        model_calls: How many it makes; None when that is not fixed.
        tool_calls: As above.
        multi_agent: True when several agents work together.
        threads: True when its own code calls the model side by side, in threads or tasks that it starts itself.
        error: Code of the error it must end with; None when it must succeed.
        decision: Answers the request that it must wait with; the counts are those of what follows. None: it does
            not wait.
        options: Options of the adapter.
    """

    name: str
    entrypoint: str
    script: Mapping[str, object] = field(default_factory=dict[str, object])
    inputs: Json = "EXEC-0: what is the weather in Paris?"
    model_calls: int | None = None
    tool_calls: int | None = None
    multi_agent: bool = False
    threads: bool = False
    error: str | None = None
    decision: Json = None
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])


def native_cases(profile: FrameworkProfile) -> list[NativeCase]:
    """Return the native agents that a framework's adapter ships."""
    text = files(profile.package).joinpath("native_agents", "cases.json").read_text()
    return [NativeCase(**case) for case in json.loads(text)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended: with a result or an error, and what it told meanwhile."""

    result: Result | None
    error: AgentError | None
    events: list[Event]

    @property
    def ok(self) -> Result:
        """The result; fails the test when there is none."""
        assert self.result is not None, f"expected a result, got {self.error}"
        return self.result

    @property
    def failure(self) -> AgentError:
        """The error; fails the test when there is none."""
        assert self.error is not None, f"expected an error, got {self.result}"
        return self.error


class Target:
    """A started guest of one framework. Its members may be used from the tests' thread."""

    def __init__(self, command: GuestCommand, profile: FrameworkProfile, endpoint: ModelEndpoint) -> None:
        """Start the guest and connect to it."""
        self.command = command
        self.profile = profile
        self.endpoint = endpoint
        self.sessions = MemorySessions()
        self.journal = MemoryJournal()
        self.approvals = MemoryApprovals()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._executions = itertools.count(1)
        self.bundles = {
            "tools": _bundle(_CONTRACT, "conformance/tools_bundle"),
            "native": _bundle(profile.package, "native_agents"),
        }
        self.guest = self.call(self._start())

    @asynccontextmanager
    async def another_client(self) -> AsyncGenerator[RuntimeClient]:
        """Connect once more: to the guest, or, where a server leads to it, to a second one, which ends with the block.

        Whoever asks closes the connection.
        """
        if self.guest.folder is not None:
            yield await RuntimeClient.connect(guest_address(self.guest.folder))
            return
        second = await self._start()
        try:
            yield second.client
        finally:
            await second.stop()

    async def _start(self) -> GuestProcess:
        return await GuestProcess.start(
            self.command, sessions=self.sessions, journal=self.journal, approvals=self.approvals
        )

    def call(self, work: Coroutine[Any, Any, T], timeout: float = 2 * SECONDS) -> T:
        """Run a coroutine on the target's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin a coroutine on the target's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def restart(self) -> None:
        """Replace the guest, after a test that harmed it."""
        self.call(self.guest.stop())
        self.guest = self.call(self._start())

    def close(self) -> None:
        """End the guest and the loop."""
        self.call(self.guest.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=SECONDS)
        self._loop.close()

    def supports(self, capability: Capability) -> bool:
        """Whether the guest says that it can do something."""
        return self.profile.capabilities[capability].supported

    def next_execution(self) -> str:
        """Return a new id, which is also a marker for prompts."""
        return f"EXEC-{next(self._executions)}"

    def portable(self, *tools: str, **changes: Any) -> AgentSource:
        """Return a portable agent with tools of the suite, by name of function."""
        sources = tuple(ToolSource(function=f"suite_tools:{name}") for name in tools)
        agent = PortableAgent(
            name="assistant", instructions="You are helpful.", model="scripted", tools=sources
        )
        return AgentSource(portable=replace(agent, **changes))

    def native(self, case: NativeCase) -> AgentSource:
        """Return a native agent of the adapter."""
        return AgentSource(entrypoint=case.entrypoint, options=case.options)

    def run(
        self,
        source: AgentSource,
        script: Script | None = None,
        *,
        bundle: str = "tools",
        inputs: Json = None,
        limits: Limits | None = None,
        **run: Any,
    ) -> Outcome:
        """Run one execution to its end; `inputs` default to a question with the execution's marker."""
        return self.call(self.execute(source, script, bundle=bundle, inputs=inputs, limits=limits, **run))

    async def execute(
        self,
        source: AgentSource,
        script: Script | None = None,
        *,
        bundle: str = "tools",
        inputs: Json = None,
        limits: Limits | None = None,
        model: ModelAddress | None = None,
        execution: str | None = None,
        resume: bool = False,
        decision: Json = None,
        **run: Any,
    ) -> Outcome:
        """Do the same on the target's loop; `resume` goes on with an interrupted execution."""
        events: list[Event] = []
        execution = execution or self.next_execution()

        async def on_event(event: Event) -> None:
            events.append(event)

        try:
            loaded = await self.guest.client.load(source, self.bundles[bundle])
            request = Run(
                execution=execution,
                agent=loaded.agent or "",
                inputs=inputs or f"{execution}: what is the weather in Paris?",
                limits=limits or Limits(seconds=SECONDS),
                model=model or ModelAddress(base_url=self.script(script)),
                **run,
            )
            client = self.guest.client
            working = client.resume(request, decision, on_event) if resume else client.run(request, on_event)
            result = await working
        except AgentError as error:
            return Outcome(result=None, error=error, events=events)
        return Outcome(result=result, error=None, events=events)

    def script(self, script: Script | None) -> str:
        """Register a script and return its address; None is a well-behaved model that echoes markers."""
        script = script or Script(echo=MARKER, strict=True)
        return self.endpoint.script(f"s{abs(hash(script.to_json()))}", script)


def with_marker(inputs: Json, execution: str) -> Json:
    """Return `inputs` with the execution's marker wherever `EXEC-0` stands."""
    if isinstance(inputs, str):
        return inputs.replace("EXEC-0", execution)
    if isinstance(inputs, Mapping):
        return {key: with_marker(value, execution) for key, value in inputs.items()}
    return [with_marker(item, execution) for item in inputs] if isinstance(inputs, Sequence) else inputs


def _bundle(package: str, folder: str) -> Bundle:
    with as_file(files(package).joinpath(folder)) as path:
        digest, archive = bundles.pack(Path(path))
    return Bundle(digest=digest, archive=archive)
