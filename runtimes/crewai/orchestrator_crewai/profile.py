"""CrewAI as data: what the trusted side must know of it without importing it."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="crewai",
    title="CrewAI",
    package="orchestrator_crewai",
    adapter="orchestrator_crewai.adapter:CrewAIAdapter",
    distribution="crewai",
    requirements=("crewai==1.15.30", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="MIT",
    homepage="https://docs.crewai.com",
    native=("Crew", "Flow", "a class of flows", "a @CrewBase class", "a function that returns one"),
    environment={
        # otherwise each crew reports to telemetry.crewai.com
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_DISABLE_TRACKING": "true",
        "CREWAI_TRACING_ENABLED": "false",
        # otherwise a verbose crew asks a package index for newer versions
        "CREWAI_DISABLE_VERSION_CHECK": "true",
        # otherwise memories that many executions write at once warn of each attempt that is repeated
        "LANCE_LOG": "error",
    },
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no("a persisted flow gets its state back but runs all of its methods again"),
    },
    cancel="next_call",
)
