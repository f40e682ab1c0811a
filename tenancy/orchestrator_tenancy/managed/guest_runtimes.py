"""The runtimes of managed locations: agents run in guests of containers of their own, or not at all."""

import contextlib
import os
from collections.abc import Generator
from typing import Final

import dagster as dg

from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.homes import guests_folder

TRUST_VARIABLE: Final = "ORCHESTRATOR_MANAGED_TRUSTS_GUESTS"
"""`1` where whoever writes the agents may have what the process of a run has: on one's own machine, and in tests."""


class GuestRuntimes(AgentRuntimes):
    """`AgentRuntimes` that starts no guest beside itself: such a guest is a process of the same user."""

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[AgentRuntimes]:
        """Open the runtimes for a step or a run.

        Raises:
            Failure: Guests would be processes of this machine, and nobody said that this is wanted.
        """
        if guests_folder() is None and os.environ.get(TRUST_VARIABLE) != "1":
            raise dg.Failure(
                "agents of managed locations run in guests of containers of their own, and ORCHESTRATOR_GUESTS names"
                " none: let the run launcher of the cluster start the run, or set"
                f" {TRUST_VARIABLE}=1 where you trust the agents with this machine",
                allow_retries=False,
            )
        with super().yield_for_execution(context) as runtimes:
            yield runtimes


GUEST_RUNTIMES: Final = GuestRuntimes()
"""One object, since Dagster merges resources by identity."""
