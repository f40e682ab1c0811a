"""Runs inside a mount namespace: a guest of the fake framework whose folder is on a disk that gets full.

`python driver.py DISK` mounts a small file system on DISK, and prints one line of JSON: how each attempt ended.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import AgentSource, ModelAddress, PortableAgent, Run

DISK_BYTES: Final = 2_000_000
COMMAND: Final = GuestCommand.of(PROFILE, Path(sys.executable), spare_seconds=0.1)
PORTABLE: Final = Agent(source=AgentSource(portable=PortableAgent(name="a", instructions="i", model="m")))
CODE: Final = (
    "from orchestrator_runtimes.conformance.fake import FakeAgent\nagent = FakeAgent(instructions='x')\n"
)


def with_code(folder: Path) -> Agent:
    """Return an agent whose folder needs about half of the disk."""
    (folder / "mine.py").write_text(CODE)
    (folder / "data").write_bytes(os.urandom(DISK_BYTES // 2))
    digest, archive = bundles.pack(folder)
    return Agent(source=AgentSource(entrypoint="mine:agent"), bundle=Bundle(digest=digest, archive=archive))


def take_bytes(filler: Path) -> None:
    """Take every byte that is left."""
    with (filler / "bytes").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"x" * 4_096)


def take_files(filler: Path) -> None:
    """Take every file that may still be made."""
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (filler / str(number)).touch()


async def attempt(pool: GuestPool, agent: Agent, endpoint: ModelEndpoint, execution: str) -> str:
    """Run one execution and return its output or its error."""

    async def ignore(_event: Event) -> None:
        return None

    def request(digest: str) -> Run:
        model = ModelAddress(base_url=endpoint.base_url)
        return Run(execution=execution, agent=digest, inputs=f"say {execution}", model=model)

    try:
        return str((await pool.run(agent, request, ignore)).output)
    except AgentError as error:
        return str(error)


async def main(disk: Path, code: Path) -> dict[str, object]:
    """Return how each attempt ended, by what was tried."""
    agent, filler = with_code(code), disk / "filler"
    filler.mkdir()
    ended: dict[str, object] = {}
    async with ModelEndpoint() as endpoint:
        pool, late = GuestPool(COMMAND, processes=1), GuestPool(COMMAND, processes=1)
        ended["before"] = await attempt(pool, PORTABLE, endpoint, "EXEC-1")
        take_bytes(filler)
        ended["code, no byte left"] = await attempt(pool, agent, endpoint, "EXEC-2")
        take_files(filler)
        ended["code, no file left"] = await attempt(pool, agent, endpoint, "EXEC-2")
        ended["another, disk full"] = await attempt(pool, PORTABLE, endpoint, "EXEC-3")
        ended["new guest, disk full"] = await attempt(late, PORTABLE, endpoint, "EXEC-4")
        shutil.rmtree(filler)
        ended["code, room again"] = await attempt(pool, agent, endpoint, "EXEC-5")
        ended["new guest, room again"] = await attempt(late, PORTABLE, endpoint, "EXEC-6")
        await asyncio.gather(pool.close(), late.close())
    until = time.monotonic() + 20
    while time.monotonic() < until and any(disk.glob("guest-*")):
        await asyncio.sleep(0.1)  # spares, which go by themselves
    ended["left"] = sorted(path.name for path in disk.glob("guest-*"))
    return ended


if __name__ == "__main__":
    place = Path(sys.argv[1])
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes=100", "tmpfs", str(place)], check=True
    )
    with tempfile.TemporaryDirectory() as elsewhere:
        tempfile.tempdir = str(place)
        print(json.dumps(asyncio.run(main(place, Path(elsewhere)))))
