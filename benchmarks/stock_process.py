"""The stock side of n8n: its own server, and a client of one of its webhooks.

`python -m benchmarks.stock_process --webhook PATH --in-flight N -- WORDS` starts the server by WORDS, with the
variables of this process, and answers each line `{"count": N}` of standard input with one line of JSON.
"""

import argparse
import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Final

from benchmarks.keep_alive import KeepAlive
from benchmarks.questions import answered, webhook_body

_READY_SECONDS: Final = 120.0
_LIVE_SECONDS: Final = 10.0
_END_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05


@contextmanager
def running_server(words: list[str]) -> Generator["subprocess.Popen[bytes]"]:
    """Start the server, and end it."""
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the server says that it is ready.

    Raises:
        SystemExit: It ended, or took too long.
    """
    end = time.monotonic() + _READY_SECONDS
    while not _ready(port):
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the stock server is not ready; its status is {server.poll()}")
        time.sleep(_POLL_SECONDS)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz/readiness")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Client:
    """Sends executions to a webhook, a number of them at once, over connections that are kept."""

    def __init__(self, url: str, path: str, in_flight: int) -> None:
        """Begin without a connection."""
        self._path = path
        self._connections = [KeepAlive(url) for _ in range(in_flight)]
        self._live_until = time.monotonic() + _LIVE_SECONDS

    async def run_batch(self, count: int) -> dict[str, object]:
        """Run one batch and tell how it went."""
        waiting = iter(range(count))
        latencies: list[float] = []
        failures: dict[int, str] = {}

        async def work(connection: KeepAlive) -> None:
            for number in waiting:
                began = time.perf_counter()
                failure = await self._execute(connection, number)
                latencies.append(time.perf_counter() - began)
                if failure is not None:
                    failures[number] = failure

        began = time.perf_counter()
        await asyncio.gather(*(work(connection) for connection in self._connections[:count]))
        return {
            "seconds": time.perf_counter() - began,
            "failed": len(failures),
            "first_failure": failures[min(failures)] if failures else None,
            "latencies": latencies,
        }

    async def _execute(self, connection: KeepAlive, number: int) -> str | None:
        """Run one execution and return what is wrong with its answer; None when nothing is."""
        try:
            status, answer = await connection.post(self._path, json.dumps(webhook_body(number)).encode())
            while (
                status == 404 and time.monotonic() < self._live_until
            ):  # webhooks come to life after readiness
                await asyncio.sleep(_POLL_SECONDS)
                status, answer = await connection.post(self._path, json.dumps(webhook_body(number)).encode())
            if status == 200 and answered(json.loads(answer), number):
                return None
            return f"{status}: {answer[:300]!r}"
        except (OSError, EOFError, ValueError) as error:
            return f"{type(error).__name__}: {error}"


async def serve(client: Client, answers: IO[str]) -> None:
    """Run a batch for each line of standard input, until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        answer = await client.run_batch(json.loads(line)["count"])
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.stock_process", description=__doc__)
    parser.add_argument("--webhook", required=True, help="its path below /webhook/")
    parser.add_argument("--in-flight", required=True, type=int, help="executions at once")
    parser.add_argument("words", nargs="+", help="of the server")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the server prints is no answer
    port, began = int(os.environ["N8N_PORT"]), time.monotonic()
    with running_server(options.words) as server:
        wait_until_ready(server, port)
        print(json.dumps({"ready": True, "seconds": time.monotonic() - began}), file=answers, flush=True)
        client = Client(f"http://127.0.0.1:{port}/webhook", f"/{options.webhook}", options.in_flight)
        asyncio.run(serve(client, answers))


if __name__ == "__main__":
    main()
