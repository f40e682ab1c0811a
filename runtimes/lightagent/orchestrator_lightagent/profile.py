"""LightAgent as data: what the trusted side must know of it without importing it."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="lightagent",
    title="LightAgent",
    package="orchestrator_lightagent",
    adapter="orchestrator_lightagent.adapter:LightAgentAdapter",
    distribution="lightagent",
    requirements=("lightagent==0.11.0", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="Apache-2.0",
    homepage="https://github.com/wanxingai/LightAgent",
    native=("LightAgent", "LightSwarm", "LightFlow"),
    environment={
        # mem0, which it depends on, reports to PostHog when it is used
        "MEM0_TELEMETRY": "false",
    },
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no("a run cannot be continued; a retry starts again"),
        Capability.APPROVAL: no(
            "a flow that waits for an approval is refused by name: nobody can answer it here"
        ),
    },
    cancel="next_call",
)
