"""Portable agents as LightAgents: the model gets their words alone, and their tools' true schemas."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from LightAgent import HookContext, HookDecision, LightAgent, PolicyHook  # type: ignore[import-untyped]  # it ships no marker of its types

from orchestrator_lightagent.native_tools import uncounted
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.execution import CURRENT, ExecutionStopped
from orchestrator_runtimes.messages import PortableAgent
from orchestrator_runtimes.tools import PortableTool


def build(agent: PortableAgent, tools: Sequence[PortableTool]) -> LightAgent:
    """Build a `LightAgent`; call inside the running loop, which its tools then run on."""
    built = LightAgent(
        name=agent.name,
        instructions=agent.instructions,
        model=agent.model,
        auto_discover_skills=False,
        hooks=[PolicyHook(_request(agent), phases={"before_model_request"})],
    )
    registry = built.tool_registry
    for name in list(registry.function_mappings):  # LightAgent offers tools of its own
        del registry.function_mappings[name], registry.function_info[name], built.loaded_tools[name]
    loop = asyncio.get_running_loop()
    built.load_tools([_function(tool, loop) for tool in tools])
    registry.openai_function_schemas = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in tools
    ]
    return built


def _request(agent: PortableAgent) -> Callable[[HookContext], HookDecision]:
    """Return the hook that makes a request say what the agent says.

    LightAgent's own system prompt holds the time, so that no two tries would send the same request.
    """
    said: dict[str, Any] = {}
    if agent.temperature is not None:
        said["temperature"] = agent.temperature
    if agent.output_schema is not None:
        schema = {"name": "output", "schema": dict(agent.output_schema), "strict": True}
        said["response_format"] = {"type": "json_schema", "json_schema": schema}

    def request(context: HookContext) -> HookDecision:
        parameters = context.payload["params"]
        messages = [{"role": "system", "content": agent.instructions}, *parameters["messages"][1:]]
        return HookDecision.replace({"params": {**parameters, **said, "messages": messages}})

    return request


def _function(tool: PortableTool, loop: asyncio.AbstractEventLoop) -> Callable[..., str]:
    def call(**arguments: Any) -> str:
        try:
            return asyncio.run_coroutine_threadsafe(tool.run(arguments), loop).result()
        except AgentError as error:  # LightAgent would tell it to the model
            execution = CURRENT.get()
            assert execution is not None  # else `run` had no error of this kind
            execution.stop(error)
            raise ExecutionStopped(error) from error

    function: Any = uncounted(call)
    # no parameters, so that LightAgent checks none: the tool does, against its schema
    function.tool_info = {
        "tool_name": tool.name,
        "tool_description": tool.description,
        "tool_params": [],
    }
    return function  # type: ignore[no-any-return]  # the attribute is LightAgent's way to describe a tool
