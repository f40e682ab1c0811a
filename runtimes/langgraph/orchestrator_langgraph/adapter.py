"""Runs LangGraph's compiled graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputError
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph, StateGraph

from orchestrator_langgraph.callbacks import NativeTools
from orchestrator_langgraph.graph_values import graph_input, graph_output
from orchestrator_langgraph.interrupts import answer, asked
from orchestrator_langgraph.native_tools import PortableGraphTool, journal_native_tools, names_of_tools
from orchestrator_langgraph.profile import PROFILE
from orchestrator_langgraph.states import THREAD, config, dump_saver, load_saver
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.tools import PortableTool

STEPS_PER_CALL: Final = 10
"""Super-steps of a graph for each model call that is allowed: the graph's own limit comes after the execution's."""

Graph = CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True, kw_only=True)
class LoadedGraph:
    """A graph, and whether its tools count themselves."""

    graph: Graph
    channels: frozenset[str]
    portable: bool


class LangGraphAdapter(Adapter):
    """Graphs are shared between executions: LangGraph keeps what belongs to one apart."""

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to journal native tools."""
        journal_native_tools()

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> LoadedGraph:
        """Take a compiled graph, a graph to compile, or a function (asynchronous, too) that returns one."""
        return self._loaded(await self.made(found, CompiledStateGraph | StateGraph))

    def _loaded(self, found: Any, *, portable: bool = False) -> LoadedGraph:
        graph = found.compile() if isinstance(found, StateGraph) else found
        channels = frozenset(graph.builder.schemas[graph.builder.input_schema])
        return LoadedGraph(graph=graph, channels=channels, portable=portable)

    def tool_names(self, agent: LoadedGraph) -> frozenset[str] | None:
        """Return the names of a graph's tools; nodes of a user's own may call others."""
        return names_of_tools(agent.graph)

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> LoadedGraph:
        """Build the agent with `create_agent`."""
        model = ChatOpenAI(model=agent.model, temperature=agent.temperature, max_retries=0, stream_usage=True)
        schema = {"title": "Output", **agent.output_schema} if agent.output_schema is not None else None
        graph = create_agent(
            model,
            [_tool(tool) for tool in tools],
            system_prompt=agent.instructions,
            response_format=ProviderStrategy(schema) if schema is not None else None,
            name=agent.name,
        )
        return self._loaded(graph, portable=True)

    def native_type(self, agent: LoadedGraph) -> str:
        """Return the type of the graph."""
        return type(agent.graph).__name__

    async def run(self, agent: LoadedGraph, execution: Execution) -> Outcome:
        """Run the graph to its end, or to where it asks a person."""
        inputs = graph_input(agent.channels, execution.run.inputs)
        graph, settings, saver = await self._opened(agent, execution)
        return await self._ran(graph, inputs, settings, saver, execution)

    async def resume(self, agent: LoadedGraph, execution: Execution, decision: Json) -> Outcome:
        """Go on with a graph that asked; `interrupt()` returns the decision."""
        graph, settings, saver = await self._opened(agent, execution)
        snapshot = await graph.aget_state(settings) if graph.checkpointer else None
        if snapshot is None or not snapshot.interrupts:
            raise AgentError(ErrorCode.INVALID_INPUT, "the session waits for no decision")
        return await self._ran(graph, answer(snapshot.interrupts, decision), settings, saver, execution)

    async def _opened(
        self, agent: LoadedGraph, execution: Execution
    ) -> tuple[Graph, RunnableConfig, InMemorySaver | None]:
        """Return a graph with the session's state, how to run it, and what holds the state where that is ours."""
        run = execution.run
        settings = RunnableConfig(recursion_limit=STEPS_PER_CALL * run.limits.steps + STEPS_PER_CALL)
        if not agent.portable:
            settings["callbacks"] = [NativeTools(execution)]
        graph, saver = agent.graph, None
        if graph.checkpointer:
            settings["configurable"] = {"thread_id": run.session or run.execution}
        elif run.session is not None:
            saver = load_saver(await execution.load_state())
            graph = graph.copy({"checkpointer": saver})
            settings |= config(THREAD)
        return graph, settings, saver

    async def _ran(
        self,
        graph: Graph,
        inputs: Any,
        settings: RunnableConfig,
        saver: InMemorySaver | None,
        execution: Execution,
    ) -> Outcome:
        run = execution.run
        state = await (self._streamed if run.stream else self._whole)(graph, inputs, settings, execution)
        if isinstance(state, Mapping) and (interrupts := state.get("__interrupt__")):
            if saver is not None:
                await execution.save_state(dump_saver(saver, waiting=True))
            return Outcome(output=asked(interrupts), finish_reason=FinishReason.INTERRUPTED)
        output = graph_output(state)
        if saver is not None:
            await execution.save_state(dump_saver(saver))
        return Outcome(output=output)

    async def _whole(self, graph: Graph, inputs: Any, settings: RunnableConfig, execution: Execution) -> Any:
        state = await graph.ainvoke(inputs, settings)
        await _tell(state, execution)
        return state

    async def _streamed(
        self, graph: Graph, inputs: Any, settings: RunnableConfig, execution: Execution
    ) -> Any:
        state: Any = None
        async for mode, part in graph.astream(inputs, settings, stream_mode=["messages", "values"]):
            if mode == "values":
                state = part
                continue
            message: object = part[0]
            if isinstance(message, AIMessageChunk) and message.text:
                await execution.emit(Token(text=message.text))
        await _tell(state, execution)
        return state

    def translate(self, error: Exception) -> AgentError | None:
        """Name what only LangChain knows."""
        if isinstance(error, StructuredOutputError):
            return AgentError(
                ErrorCode.OUTPUT_SCHEMA_MISMATCH,
                "the answer does not match the output schema",
                cause=str(error),
            )
        return None


async def _tell(state: Any, execution: Execution) -> None:
    if not isinstance(state, Mapping) or "__interrupt__" in state:
        return  # it has not spoken yet
    messages = state.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], AIMessage):
        await execution.emit(Message(text=messages[-1].text, agent=messages[-1].name))


def _tool(tool: PortableTool) -> PortableGraphTool:
    async def call(**arguments: Any) -> str:
        return await tool.run(arguments)

    made = PortableGraphTool.from_function(
        coroutine=call, name=tool.name, description=tool.description, args_schema=dict(tool.parameters)
    )
    assert isinstance(made, PortableGraphTool)  # what LangChain's annotation leaves open
    return made
