"""Runs inside a mount namespace: a gateway whose journal is on a disk that gets full.

`python gateway_driver.py DISK` mounts a small file system on DISK, and prints one line of JSON: how calls ended.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator_gateway.journal import JournalLimits
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.gateway_guests import PARALLEL, gateway

DISK_BYTES: Final = 8_000_000
TEXT: Final = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=40_000))
"""Each answer needs 25 kB of the disk, which PARALLEL answers do not find."""


def take_bytes(filler: Path) -> None:
    """Take every byte that is left."""
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"x" * 1_024)


async def main(disk: Path) -> dict[str, object]:
    """Return how calls ended, by what was tried."""
    filler = disk / "filler"
    async with (
        ModelEndpoint(Script(text=TEXT, latency=0.2)) as model,
        gateway(str(disk / "journal.db"), model, JournalLimits()) as guests,
    ):
        before = await asyncio.gather(*(guests.ask(1_000 + n) for n in range(5)))
        asked = asyncio.create_task(guests.ask_all())
        while model.count < 5 + PARALLEL // 2:
            await asyncio.sleep(0.01)
        take_bytes(filler)
        full = await asked
        refused = [json.loads(one.body)["error"]["code"] for one in full if one.status != 200]
        healthy = await guests.is_healthy()
        filler.unlink()
        again = await guests.ask_all()
        kept = [(now, then) for now, then in zip(again, full, strict=True) if then.status == 200]
        kept += zip(await asyncio.gather(*(guests.ask(1_000 + n) for n in range(5))), before, strict=True)
    return {
        "before": sorted({one.status for one in before}),
        "full": sorted({one.status for one in full}),
        "why": sorted(set(refused)),
        "healthy": healthy,
        "room again": sorted({one.status for one in again}),
        "kept": all(now.replayed and now.body == then.body for now, then in kept),
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)], check=True)
    print(json.dumps(asyncio.run(main(place))))
