"""An OpenAI-compatible endpoint whose models do what a script says, for conformance tests and benchmarks.

As a process of its own: `python -m orchestrator_runtimes.conformance.model_endpoint --port 0 --script JSON`.
"""

import argparse
import asyncio
import re
import signal
import socket
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, Self

from orchestrator_runtimes.conformance.calls import Call, CallLog
from orchestrator_runtimes.conformance.http_connections import HttpConnection
from orchestrator_runtimes.conformance.scripted_models import ScriptedModels
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError, ErrorCode

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BACKLOG: Final = 4_096
_THREAD_SECONDS: Final = 30.0


class ModelEndpoint:
    """Listens while it is entered: `async with ModelEndpoint() as endpoint`.

    Two equal requests of one execution get byte-equal responses: ids are made from the script's name, the
    execution header and the request body, and time stands still. Usage is `tokens` of `Conversation.prompt`
    and of the answer. The members may be used from any thread.
    """

    def __init__(
        self,
        default: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        most_body_bytes: int = 64 * 1024 * 1024,
        most_calls: int = 20_000,
    ) -> None:
        """Prepare an endpoint; nothing listens yet.

        Args:
            default: What the model at `base_url` does; None is `Script()`.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            most_body_bytes: Longest request body; a longer one gets status 413.
            most_calls: Calls kept in `calls`; older ones are forgotten, and still counted.
        """
        self._host = host
        self._port = port
        self._models = ScriptedModels(
            scripts={"": default or Script()}, log=CallLog(most=most_calls), most_body_bytes=most_body_bytes
        )
        self._server: asyncio.Server | None = None
        self._address: str | None = None

    @property
    def base_url(self) -> str:
        """Where the default script answers: `http://HOST:PORT/v1`.

        Raises:
            AgentError: With `invalid_input` before the endpoint listens.
        """
        return f"{self._origin()}/v1"

    @property
    def calls(self) -> Sequence[Call]:
        """Every request below a base URL since the last reset, in order of arrival."""
        return self._models.log.calls

    @property
    def count(self) -> int:
        """Requests since the last reset, those no longer kept included."""
        return self._models.log.count

    @property
    def active(self) -> int:
        """Requests whose reply is not over now."""
        return self._models.log.active

    @property
    def peak_active(self) -> int:
        """The most requests that were active at once since the last reset."""
        return self._models.log.peak_active

    def script(self, name: str, script: Script) -> str:
        """Register a behaviour, or replace it, and return its base URL `http://HOST:PORT/m/NAME/v1`.

        Raises:
            AgentError: With `invalid_input` when the name is not 1 to 100 letters, digits, dots, dashes and
                underscores, or before the endpoint listens.
        """
        if not _NAME.fullmatch(name):
            raise AgentError(
                ErrorCode.INVALID_INPUT, f"model endpoint: {name!r} cannot be the name of a script"
            )
        url = f"{self._origin()}/m/{name}/v1"
        self._models.scripts[name] = script
        return url

    def calls_of(self, name: str) -> list[Call]:
        """Return the calls of one script; the empty name is the default one."""
        return [call for call in self.calls if call.script == name]

    def reset(self) -> None:
        """Forget every call and start the faults' counts anew; scripts stay."""
        self._models.reset()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpConnection(self._models),
            self._host,
            self._port,
            family=socket.AF_INET,
            backlog=_BACKLOG,
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        self._address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening and close every connection, with whatever is under way."""
        if self._server:
            self._server.close()
            for connection in tuple(self._models.connections):
                connection.abort()
            await self._server.wait_closed()
            # what was aborted is reported to the connections in the next turn of the loop
            await asyncio.sleep(0)
        self._server = self._address = None

    def _origin(self) -> str:
        if self._address is None:
            raise AgentError(
                ErrorCode.INVALID_INPUT, "model endpoint: not listening; enter it with 'async with' first"
            )
        return self._address


@contextmanager
def run_in_thread(endpoint: ModelEndpoint | None = None) -> Generator[ModelEndpoint, None, None]:
    """Run an endpoint on an event loop in a thread of its own, for code that is not asynchronous.

    Args:
        endpoint: One that does not listen yet; None makes one with the default script.

    Raises:
        OSError: The address cannot be listened on.
    """
    chosen = endpoint or ModelEndpoint()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="model-endpoint", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(chosen.__aenter__(), loop).result(_THREAD_SECONDS)
        try:
            yield chosen
        finally:
            asyncio.run_coroutine_threadsafe(chosen.__aexit__(), loop).result(_THREAD_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_THREAD_SECONDS)
        loop.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an endpoint until SIGINT or SIGTERM; its base URL is the first line of standard output.

    Returns:
        0 when it was ended by a signal, 2 when a script or the address cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="model_endpoint", description="OpenAI-compatible endpoint with scripted models"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, the default")
    parser.add_argument(
        "--script",
        action="append",
        default=[],
        metavar="[NAME=]JSON",
        help="script of the default model, or of the model at /m/NAME/v1; may be given several times",
    )
    options = parser.parse_args(arguments)
    try:
        scripts = dict(_named_script(text) for text in options.script)
        asyncio.run(
            _serve(ModelEndpoint(scripts.pop("", None), host=options.host, port=options.port), scripts)
        )
    except (AgentError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _named_script(text: str) -> tuple[str, Script]:
    name, equals, document = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        name, document = "", text
    return name, Script.from_json(document)


async def _serve(endpoint: ModelEndpoint, scripts: dict[str, Script]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with endpoint:
        for name, script in scripts.items():
            endpoint.script(name, script)
        print(endpoint.base_url, flush=True)
        await ended.wait()


if __name__ == "__main__":
    sys.exit(main())
