"""A real worker in the test's own process, and guests that say what a test tells them, over unix sockets and TCP."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import pytest

from orchestrator_runtimes import attribution, model_calls
from orchestrator_runtimes.adapter import Adapter
from orchestrator_runtimes.client import RuntimeClient
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.conformance.fake import FakeAdapter
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER
from orchestrator_runtimes.messages import (
    CONTRACT_VERSION,
    MESSAGE_BYTES,
    AgentSource,
    FinishReason,
    Initialized,
    Limits,
    ModelAddress,
    PortableAgent,
    Result,
    Run,
    Usage,
)
from orchestrator_runtimes.worker import Worker

T = TypeVar("T")
Kind = Literal["unix", "tcp"]
KINDS: Final[tuple[Kind, ...]] = ("unix", "tcp")
SOURCE: Final = AgentSource(portable=PortableAgent(name="a", instructions="i", model="m"))
SECONDS: Final = 30.0
"""Far above what any scenario takes: reaching it is a hang."""


def bounded(scenario: Callable[[], Awaitable[T]]) -> T:
    """Run a scenario; a hang and an error that nobody but the loop has seen fail the test."""
    unseen: list[dict[str, Any]] = []

    async def run() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        return await asyncio.wait_for(scenario(), SECONDS)

    result = asyncio.run(run())
    assert not unseen, [f"{context['message']}: {context.get('exception')!r}" for context in unseen]
    return result


class RawPeer:
    """The raw stream to a peer: lines out, lines in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *messages: object) -> None:
        """Send messages as lines; bytes go out as they are."""
        for message in messages:
            self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        await self.writer.drain()

    async def ask(self, number: object, method: str, params: object) -> None:
        """Send a request."""
        await self.say({"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    async def hear(self) -> dict[str, Any] | None:
        """Return the next message; None at the end of the stream."""
        line = await self.reader.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    async def answer(self, number: object) -> dict[str, Any] | None:
        """Skip what comes before the answer with this id; None when the stream ends first."""
        while (message := await self.hear()) is not None:
            if "method" not in message and message.get("id") == number:
                return message
        return None

    async def close(self) -> None:
        """Close the stream."""
        self.writer.close()
        with suppress(OSError):  # the other side was first
            await self.writer.wait_closed()


async def _listen(kind: Kind, folder: Path, accept: Any) -> tuple[asyncio.Server, str]:
    if kind == "unix":
        path = str(folder / "s")
        Path(path).unlink(missing_ok=True)
        return await asyncio.start_unix_server(accept, path, limit=MESSAGE_BYTES), f"unix:{path}"
    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MESSAGE_BYTES)
    return server, f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def raw(address: str, *, initialize: bool = True) -> RawPeer:
    """Connect to a guest without a client."""
    kind, _, place = address.partition(":")
    if kind == "unix":
        peer = RawPeer(*await asyncio.open_unix_connection(place, limit=MESSAGE_BYTES))
    else:
        host, _, port = place.rpartition(":")
        peer = RawPeer(*await asyncio.open_connection(host, int(port), limit=MESSAGE_BYTES))
    if initialize:
        await peer.ask("initialize", "initialize", {"contract": "1.0"})
        assert "result" in (await peer.answer("initialize") or {})
    return peer


@asynccontextmanager
async def serving(
    folder: Path, kind: Kind = "unix", adapter: Adapter | None = None, max_executions: int = 20
) -> AsyncGenerator[str, None]:
    """Serve the contract in this process, and yield the address."""
    with pytest.MonkeyPatch.context() as patch:
        # what a guest changes in its whole process would outlive the test; the fake framework needs none of it
        patch.setattr(attribution, "install", lambda: None)
        patch.setattr(model_calls, "install", lambda: None)
        worker = Worker(adapter or FakeAdapter(), folder=folder, max_executions=max_executions)
        server, address = await _listen(kind, folder, worker.accept)
        task = asyncio.create_task(worker.serve(server))
        try:
            yield address
        finally:
            worker.stop(0.1)
            await asyncio.wait_for(task, SECONDS)


Conversation = Callable[[RawPeer], Awaitable[None]]


@asynccontextmanager
async def guest_that(
    talk: Conversation, folder: Path, kind: Kind = "unix", **told: Any
) -> AsyncGenerator[str, None]:
    """Stand in for a guest: answer `initialize` with `told`, then let `talk` say what it likes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(peer: RawPeer) -> None:
        request = await peer.hear()
        assert request is not None and request["method"] == "initialize"
        answer = Initialized(
            contract=CONTRACT_VERSION, framework="odd", framework_version="1", python="3", capabilities={},
            max_executions=9, cancel="task",
        )  # fmt: skip
        try:
            await peer.say({"jsonrpc": "2.0", "id": request["id"], "result": {**encode(answer), **told}})
            await talk(peer)
        except OSError:
            pass  # the client has had enough
        finally:
            await peer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(RawPeer(reader, writer)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server, address = await _listen(kind, folder, accept)
    try:
        yield address
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SECONDS)


def marked(endpoint: ModelEndpoint, **script: Any) -> ModelAddress:
    """Return a model whose answers carry the markers of the prompt."""
    behaviour = Script(echo=MARKER, strict=True, **script)
    return ModelAddress(base_url=endpoint.script(f"s{abs(hash(behaviour.to_json()))}", behaviour))


async def run_marked(client: RuntimeClient, model: ModelAddress, name: str, **run: Any) -> Result:
    """Run an execution whose output must carry its own marker and no other."""
    loaded = await client.load(SOURCE)
    request = Run(
        execution=name, agent=loaded.agent or "", inputs=f"{name}: what is the weather?", model=model,
        limits=Limits(seconds=20), **run,
    )  # fmt: skip
    result = await client.run(request)
    assert [word for word in str(result.output).split() if word.startswith("EXEC-")] == [name]
    return result


def result_of(output: str) -> dict[str, Any]:
    """Return a result as a guest answers it."""
    answer = Result(output=output, finish_reason=FinishReason.COMPLETED, usage=Usage(), seconds=0.1)
    return dict(encode(answer))


def event_of(execution: str, event: object, sequence: int = 0) -> dict[str, Any]:
    """Return an event notification."""
    params = {"execution": execution, "sequence": sequence, "time": 1.5, "event": event}
    return {"jsonrpc": "2.0", "method": "event", "params": params}


def joined(messages: Sequence[object]) -> bytes:
    """Return messages as lines."""
    return b"".join(
        m if isinstance(m, bytes) else json.dumps(m, ensure_ascii=True).encode() + b"\n" for m in messages
    )
