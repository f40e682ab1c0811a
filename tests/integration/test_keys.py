"""A guest never holds the model's key: not in its environment, its command line, its memory or its files."""

import asyncio
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.guest_pool import GuestPool
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import ModelAddress, Run
from tests.integration.pool_runs import AGENT, ignore

LARGEST = 64 * 2**20


def held(pid: int) -> Iterator[bytes]:
    """Yield everything that a process holds: environment, command line, and what of its memory can be read."""
    process = Path(f"/proc/{pid}")
    yield (process / "environ").read_bytes()
    yield (process / "cmdline").read_bytes()
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            place, rights = line.split()[:2]
            start, end = (int(number, 16) for number in place.split("-"))
            if not rights.startswith("r") or end - start > LARGEST:
                continue
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except (OSError, OverflowError):
                continue  # such as the kernel's own page


def folder_of(guest: int) -> Path:
    """Return a guest's folder, which its home is in."""
    variables = Path(f"/proc/{guest}/environ").read_bytes().split(b"\0")
    (home,) = (entry[5:].decode() for entry in variables if entry.startswith(b"HOME="))
    return Path(home).parent


def files(folder: Path) -> Iterator[bytes]:
    """Yield what a guest's folder holds."""
    return (path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_key_is_the_gateways_alone(tmp_path: Path) -> None:
    key = secrets.token_hex(24)

    async def scenario() -> None:
        async with ModelEndpoint() as endpoint:
            upstream = ModelAddress(base_url=endpoint.base_url, api_key=key)
            gateway = LocalGateway(tmp_path / "calls.db", upstream)
            await asyncio.to_thread(gateway.ready)
            pool = GuestPool(GuestCommand.of(PROFILE, Path(sys.executable)), processes=1)
            tokens: list[str] = []

            def request(loaded: str) -> Run:
                model = gateway.model(execution="e", agent=loaded, inputs="hi", seconds=60)
                tokens.append(str(model.api_key))
                return Run(execution="e", agent=loaded, inputs="hi", model=model)

            try:
                await pool.run(AGENT, request, ignore)
                (guest,) = pool.running()
                found = list(held(guest))
                assert any(tokens[0].encode() in part for part in found), "what is looked for would be found"
                assert not any(key.encode() in part for part in [*found, *files(folder_of(guest))])
                assert any(key.encode() in part for part in held(gateway.pid))
            finally:
                await pool.close()
                gateway.close()

    asyncio.run(scenario())
