"""LangGraph as data."""

from typing import Final

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.profiles import FrameworkProfile

PROFILE: Final = FrameworkProfile(
    name="langgraph",
    title="LangGraph",
    package="orchestrator_langgraph",
    adapter="orchestrator_langgraph.adapter:LangGraphAdapter",
    distribution="langgraph",
    requirements=("langgraph==1.2.22", "langchain==1.4.7", "langchain-openai==1.7.3", "mcp==1.30.0"),
    lock_file="lock.txt",
    licence="MIT",
    homepage="https://docs.langchain.com/oss/python/langgraph",
    native=("CompiledStateGraph", "StateGraph", "a function that returns one"),
    environment={"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"},
    capabilities=dict.fromkeys(Capability, YES)
    | {
        Capability.CRASH_RESUME: no(
            "a retried execution starts again; its finished tool calls come from the journal"
        ),
    },
    cancel="task",
)
