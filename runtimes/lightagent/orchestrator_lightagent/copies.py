"""Copies of agents and flows: what a run changes is its own; clients, tools, hooks and stores are shared."""

import copy
import dataclasses
import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from LightAgent import (  # type: ignore[import-untyped]  # it ships no marker of its types
    InMemorySessionStore,
    LightAgent,
    LightFlow,
    LightSwarm,
    MCPClientManager,
    Session,
    ToolRegistry,
)
from LightAgent.runtime import AgentRuntime  # type: ignore[import-untyped]  # it ships no marker of its types

from orchestrator_lightagent.streamed_answers import with_streamed_answers

OWN: Final = "orchestrator_copy_of"


def members_of(native: LightAgent | LightSwarm | LightFlow) -> list[Any]:
    """Return the agents that an agent, a swarm or a flow is made of, and what else a flow has for steps."""
    if isinstance(native, LightSwarm):
        return list(native.agents.values())
    if isinstance(native, LightFlow):
        steps: Any = native._steps  # pyright: ignore[reportPrivateUsage]  # no public name for them
        return [part for step in steps for part in (step.agent, step.fallback_agent)]
    return [native]


class OneSession:
    """The record of one run, held as it is.

    LightAgent's own store copies the whole record at each of its events, and keeps every run's for ever.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._session: Session | None = None

    def create(self, session: Session | None = None, *, metadata: dict[str, Any] | None = None) -> Session:
        """Take a record."""
        self._session = session or Session(metadata=metadata or {})
        return self._session

    def get(self, session_id: str) -> Session | None:
        """Return a copy of the record if it has that id."""
        session = self._session
        return copy.deepcopy(session) if session is not None and session.session_id == session_id else None

    def save(self, session: Session) -> None:
        """Take a record, which is the same one at each event."""
        self._session = session

    def list(self, *, limit: int = 100) -> list[Session]:
        """Return a copy of the record, if there is one."""
        return [copy.deepcopy(self._session)][:limit] if self._session is not None else []

    def delete(self, session_id: str) -> bool:
        """Forget the record if it has that id."""
        known = self._session is not None and self._session.session_id == session_id
        self._session = None if known else self._session
        return known


def own_agent(agent: LightAgent, *, named_session: bool = False) -> LightAgent:
    """Return a copy for one run.

    Args:
        agent: Is not changed, unless it is a copy already: then it is returned as it is.
        named_session: True when the run names a session of LightAgent, which is then kept in the agent's own store.
    """
    if hasattr(agent, OWN):
        return agent
    own: Any = copy.copy(agent)
    setattr(own, OWN, agent)
    own.client = with_streamed_answers(agent.client)
    own.loaded_tools = dict(agent.loaded_tools)
    registry = own.tool_registry = copy.copy(agent.tool_registry)
    for name, value in vars(registry).items():
        setattr(registry, name, copy.copy(value))
    own.tool_dispatcher = copy.copy(agent.tool_dispatcher)
    own.tool_dispatcher.function_mappings = registry.function_mappings
    own.tool_dispatcher.function_info = registry.function_info
    if agent.mcp_client is not None:
        own.mcp_client = _own_mcp_client(agent.mcp_client, registry)
    own.capability_registry = copy.copy(agent.capability_registry)
    own.capability_registry.audit = own._record_session_event
    store: Any = agent.runtime.session_store
    if isinstance(store, InMemorySessionStore) and not named_session:
        store = OneSession()
    own.runtime = AgentRuntime(
        session_store=store,
        capability_registry=own.capability_registry,
        budget_limits=agent.runtime.budget.limits,
    )
    return own


def _own_mcp_client(client: MCPClientManager, registry: ToolRegistry) -> MCPClientManager:
    """Return a copy with connections of its own, and have the tools in `registry` call through it."""
    own: Any = copy.copy(client)
    own.tool_registry = registry
    own.exit_stack, own.session, own.server_sessions, own.last_mcp_errors = AsyncExitStack(), None, {}, []
    for name, call in registry.function_mappings.items():
        if isinstance(call, partial) and getattr(call.func, "__self__", None) is client:
            registry.function_mappings[name] = partial(own._call_tool_wrapper, **call.keywords)
    return own


def own_flow(flow: LightFlow) -> LightFlow:
    """Return a copy for one run; its steps' agents are copied as they run."""
    own: Any = copy.copy(flow)
    own._steps = [dataclasses.replace(step) for step in own._steps]
    own._records, own._approval_decisions, own._approval_request_ids = {}, {}, {}
    own._execution_lock, own._active_cancellations = threading.Lock(), set()
    return own
