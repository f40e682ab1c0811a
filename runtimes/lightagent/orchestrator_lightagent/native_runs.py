"""Every run of a LightAgent inside an execution passes here: as a run of a copy, with its failure told.

A LightAgent holds the state of its run, so that two runs at once on one agent fail or mix. Swarms, flows and tools run
agents themselves; the one place that all of them pass is `LightAgent.run`.
"""

import copy
import functools
from collections.abc import Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from LightAgent import LightAgent, RunResult  # type: ignore[import-untyped]  # it ships no marker of its types

from orchestrator_lightagent.copies import OWN, own_agent
from orchestrator_runtimes.execution import CURRENT
from orchestrator_runtimes.json_values import Json

ROUNDS: Final = 1_000_000
"""Rounds of tool calls: the limits of the execution come first, not LightAgent's `max_retry` of 10."""


class LightAgentFailed(Exception):
    """LightAgent returned a failure, where other frameworks raise."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The agents that an execution was asked to run, where others are run by their tools.

    Attributes:
        agents: The agents, as their user made them.
        history: The conversation they begin with.
    """

    agents: Sequence[object]
    history: Sequence[Mapping[str, Json]]


MEMBERS: ContextVar[Members | None] = ContextVar("orchestrator_lightagent_members", default=None)


def run_copies() -> None:
    """Put copying around `LightAgent.run`, once."""
    if hasattr(LightAgent.run, "__wrapped__"):
        return
    run = LightAgent.run

    @functools.wraps(run)
    def own_run(self: LightAgent, query: str, *args: Any, **options: Any) -> Any:
        if CURRENT.get() is None:
            return run(self, query, *args, **options)
        members = MEMBERS.get()
        original = getattr(self, OWN, self)
        member = members is not None and any(agent is original for agent in members.agents)
        session = options.get("session_id") is not None
        if members is not None and member:
            options.setdefault("max_retry", ROUNDS)
            if not session and options.get("history") is None:
                options["history"] = copy.deepcopy(list(members.history))
        own = own_agent(self, named_session=session)
        result = run(own, query, *args, **options)
        if isinstance(result, Generator):
            return _ended(result, own) if member else result
        if isinstance(result, RunResult) and result.error is None:
            result.error = failure(own)
        return result

    LightAgent.run = own_run


def failure(own: LightAgent) -> str | None:
    """Return why the run of a copy failed, from the record that LightAgent keeps of it; None when it did not.

    Some failures are told nowhere else, such as the one of `max_retry`.
    """
    session = own.runtime.session
    for event in reversed(session.events if session is not None else []):
        if event.type == "turn.completed":
            return None
        if event.type == "turn.failed":
            return str(event.data.get("error") or event.data.get("stage"))
    return None


def _ended(pieces: Generator[Any, None, None], own: LightAgent) -> Generator[Any, None, None]:
    """Yield what a streamed run yields, and raise at its end when it failed."""
    yield from pieces
    if (why := failure(own)) is not None:
        raise LightAgentFailed(why)
