"""AgentScope as data: what the trusted side must know of it without importing it."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="agentscope",
    title="AgentScope",
    package="orchestrator_agentscope",
    adapter="orchestrator_agentscope.adapter:AgentScopeAdapter",
    distribution="agentscope",
    requirements=("agentscope==2.0.10", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="Apache-2.0",
    homepage="https://doc.agentscope.io",
    native=("Agent", "TeamPipeline"),
    environment={},
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no("its state is saved at the end of a run only"),
    },
    cancel="task",
)
