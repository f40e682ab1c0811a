"""`python -m orchestrator_gateway`: a gateway for the process that starts it, which it does not outlive for long.

Standard input: one line of JSON with `secret` (hex), `journal` (path of the SQLite file), `upstream` (`base_url`,
`api_key`) and `drain_seconds`; keys are neither arguments nor variables, which others might read. Standard output: one
line of JSON with `address`. When standard input ends, calls on their way are answered and recorded, and it ends.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from orchestrator_gateway.dispatch import single
from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.server import Gateway, GatewaySettings, runner
from orchestrator_gateway.sqlite_journal import SqliteJournal

RETENTION_SECONDS: Final = 30 * 24 * 3600.0
"""How long answers are kept whose execution never came to an end: a retry that late is a new run."""


async def serve() -> int:
    """Serve until standard input ends, and return the exit status."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = json.loads(await reader.readline())
    try:
        journal = SqliteJournal(Path(told["journal"]))
        await journal.purge(None, time.time() - RETENTION_SECONDS)
    except JournalUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    settings = GatewaySettings(secret=bytes.fromhex(told["secret"]), routing=single(**told["upstream"]))
    gateway = Gateway(settings, journal)
    running = runner(gateway)
    await running.setup()
    site = web.TCPSite(running, "127.0.0.1", 0)
    await site.start()
    port = running.addresses[0][1]
    print(json.dumps({"address": f"http://127.0.0.1:{port}"}), flush=True)
    ending = asyncio.create_task(reader.read())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await ending
    await site.stop()
    await gateway.drain(float(told["drain_seconds"]))
    await running.cleanup()
    await journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(serve()))
