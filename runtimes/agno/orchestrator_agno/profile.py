"""Agno as data: what the trusted side must know of it without importing it."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="agno",
    title="Agno",
    package="orchestrator_agno",
    adapter="orchestrator_agno.adapter:AgnoAdapter",
    distribution="agno",
    requirements=("agno[openai]==3.1.10", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="Apache-2.0",
    homepage="https://docs.agno.com",
    native=("Agent", "Team", "Workflow"),
    environment={
        # otherwise each run reports to os-api.agno.com
        "AGNO_TELEMETRY": "false",
    },
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no(
            "its checkpoints inside a run need a database of its own, which a guest has not"
        ),
    },
    cancel="task",
)
