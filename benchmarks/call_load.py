"""Model calls from a process of its own: `python -m benchmarks.call_load` makes those of each line of standard input.

A line is JSON with `base_url`, `tokens` (one connection for each), `calls` (of a connection, one after the other),
`stream`, and `spread` (seconds over which the connections begin). The answer is one line of JSON: `latencies` and, of
streams, `firsts` (seconds until the first chunk), `seconds` of the whole, and `failed`.
"""

import asyncio
import itertools
import json
import sys
import time
from typing import Any, Final

from benchmarks.keep_alive import KeepAlive

_FILLER: Final = "The quick brown fox jumps over the lazy dog. " * 40
"""A prompt of the usual length: 1,800 characters."""


def request(number: int, *, stream: bool) -> bytes:
    """Return the body of a call; no two are equal."""
    messages = [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": f"Call {number}. {_FILLER}"},
    ]
    return json.dumps({"model": "scripted", "messages": messages, "stream": stream}).encode()


class CallLoad:
    """Makes the calls of one order after another."""

    def __init__(self) -> None:
        """Begin with the first number."""
        self._numbers = itertools.count()

    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the calls of an order and tell how they went."""
        tokens = order["tokens"]
        began = time.perf_counter()
        told: dict[str, Any] = {"latencies": [], "firsts": [], "failed": 0}
        await asyncio.gather(
            *(
                self._connection(order, token, told, order["spread"] * number / len(tokens))
                for number, token in enumerate(tokens)
            )
        )
        return told | {"seconds": time.perf_counter() - began}

    async def _connection(
        self, order: dict[str, Any], token: str | None, told: dict[str, Any], wait: float
    ) -> None:
        await asyncio.sleep(wait)
        connection = KeepAlive(order["base_url"], token)
        for _ in range(order["calls"]):
            body = request(next(self._numbers), stream=order["stream"])
            began = time.perf_counter()
            try:
                if order["stream"]:
                    status, answer, first = await connection.stream("/chat/completions", body)
                    told["firsts"].append(first - began)
                else:
                    status, answer = await connection.post("/chat/completions", body)
            except (OSError, ValueError, asyncio.IncompleteReadError):
                status, answer = 0, b""
            told["latencies"].append(time.perf_counter() - began)
            whole = b"[DONE]" in answer if order["stream"] else b'"usage"' in answer
            told["failed"] += status != 200 or not whole
        await connection.close()


def main() -> None:
    """Serve standard input to its end."""
    load = CallLoad()
    for line in sys.stdin:
        print(json.dumps(asyncio.run(load.run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
