"""A run's own gateway for the time of a block, as tests of every part of it need one."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.messages import ModelAddress
from tests.integration.processes import wait_until


@contextlib.contextmanager
def local_gateway(
    journal: Path, base_url: str, *, key: str | None = None, **settings: Any
) -> Generator[LocalGateway]:
    """Serve for a block; the gateway's process has ended after it, so that all that it writes and tells is there.

    Args:
        journal: File of its journal.
        base_url: Of the model endpoint.
        key: Of the model endpoint.
        settings: Further ones of `LocalGateway`.
    """
    gateway = LocalGateway(journal, ModelAddress(base_url=base_url, api_key=key), **settings)
    try:
        gateway.ready()
        yield gateway
    finally:
        gateway.close()
        wait_until(lambda: not gateway.running, "it ends when it is let go")
