"""Pydantic AI as data: what the trusted side must know of it without importing it."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="pydantic-ai",
    title="Pydantic AI",
    package="orchestrator_pydantic_ai",
    adapter="orchestrator_pydantic_ai.adapter:PydanticAiAdapter",
    distribution="pydantic-ai-slim",
    requirements=("pydantic-ai-slim[openai]==2.68.0", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="MIT",
    homepage="https://ai.pydantic.dev",
    native=("Agent",),
    environment={},
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no("its durable execution needs a workflow engine, which a guest has not"),
        Capability.APPROVAL: no("an agent that defers a tool call is refused: nobody can answer it here"),
    },
    cancel="task",
)
