"""`python -m orchestrator_gateway`: a gateway for the process that starts it, which it does not outlive for long.

Standard input: one line of JSON with `secret` (hex), `journal` (path of the SQLite file), `upstream` (`base_url`,
`api_key`), `drain_seconds` and `handed_over` (folder of a socket for guests that can reach nothing else, or null), and
where there are some, `budgets`, `mcp_servers` and `prices` (path of a table); keys are neither arguments nor variables,
which others might read. Standard output: one line of JSON with `address`, and `telemetry`: whether anybody is told of
executions. When standard input ends, calls on their way are answered and recorded, and it ends.
"""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import uvloop

from orchestrator_gateway.assembly import Parts, serving
from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.dispatch import single
from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.prices import load_prices
from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_gateway.tenant_keys import BadKeyFile, KeyFile
from orchestrator_runtimes.codec import decode


async def serve() -> int:
    """Serve until standard input ends, and return the exit status."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = json.loads(await reader.readline())
    try:
        parts = Parts(
            secret=bytes.fromhex(told["secret"]),
            journal=told["journal"],
            routing=single(**told["upstream"]),
            drain_seconds=float(told["drain_seconds"]),
            keys=KeyFile(Path(told["keys"]), of_one=True) if told.get("keys") else None,
            budgets=tuple(decode(Budget, budget, "budget") for budget in told.get("budgets", ())),
            prices=load_prices(Path(told["prices"]) if told.get("prices") else None),
            mcp_servers={
                name: decode(McpServer, server, name) for name, server in told.get("mcp_servers", {}).items()
            },
            handed_over=Path(told["handed_over"]) if told["handed_over"] else None,
        )
        async with serving(parts) as started:
            ready = {"address": started.address, "telemetry": started.telemetry}
            print(json.dumps(ready), flush=True)
            ending = asyncio.create_task(reader.read())
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, ending.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await ending
    except (JournalUnavailable, BadConfiguration, BadKeyFile) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(serve()))
