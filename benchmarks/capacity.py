"""`endpoint`: what the scripted model endpoint itself can answer over 1,000 connections at once."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import BENCHMARKS
from benchmarks.keep_alive import KeepAlive
from benchmarks.outcomes import Outcome
from benchmarks.process_trees import cpu_seconds
from benchmarks.sizes import Sizes

CONNECTIONS: Final = 1_000

_BODY: Final = json.dumps(
    {
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "You know the weather."},
            {"role": "user", "content": "What is the weather in Paris? EXEC-1."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Tell the weather in a city.",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                },
            }
        ],
    }
).encode()


async def ask_repeatedly(base_url: str, times: int) -> None:
    """Send the same request over one connection, each when the answer to the last one is whole."""
    connection = KeepAlive(base_url)
    for _ in range(times):
        status, answer = await connection.post("/chat/completions", _BODY)
        if status != 200:
            raise ConnectionError(f"the endpoint answered {status} {answer[:100]!r}")
    await connection.close()


async def _load(base_url: str, requests: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(ask_repeatedly(base_url, requests // CONNECTIONS) for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


def measure_capacity(sizes: Sizes) -> Outcome:
    """Load the endpoint from a process of its own and tell what it does in a second."""
    requests = sizes.capacity_requests
    with scripted_endpoint(latency=0) as endpoint:
        before = cpu_seconds(endpoint.pid)
        words = [sys.executable, "-m", "benchmarks.capacity", endpoint.base_url, str(requests)]
        loaded = subprocess.run(
            words, cwd=BENCHMARKS.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        cpu = cpu_seconds(endpoint.pid) - before
    seconds = float(loaded.stdout)
    row = {
        "requests": requests,
        "connections": CONNECTIONS,
        "requests/s": requests / seconds,
        "requests per CPU-second": requests / cpu,
    }
    return Outcome(
        name="endpoint",
        title="Capacity of the scripted model endpoint",
        how=f"One process, no latency, {requests:,} requests over {CONNECTIONS:,} connections at once, cold; the load"
        " comes from another process.",
        rows=[row],
    )


if __name__ == "__main__":
    print(asyncio.run(_load(sys.argv[1], int(sys.argv[2]))))
