"""What an execution runs: a copy of a crew, a flow of its own, a portable agent of its own."""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from crewai import Agent, Crew, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.agents.agent_builder.utilities.base_token_process import TokenProcess
from crewai.agents.cache.cache_handler import CacheHandler
from crewai.agents.tools_handler import ToolsHandler
from crewai.flow.flow import Flow
from crewai.utilities.rpm_controller import RPMController
from crewai.utilities.task_output_storage_handler import TaskOutputStorageHandler
from pydantic import BaseModel


@dataclass(frozen=True, kw_only=True)
class PortableCrewAgent:
    """A portable agent: what its `Agent` is made of for each execution. Model and tools are shared.

    Attributes:
        fields: Arguments of `Agent`.
        structured: True when the answer is to be JSON.
    """

    fields: dict[str, Any]
    structured: bool

    def make(self) -> Agent:
        """Return the agent of one execution."""
        return Agent(**self.fields)


@dataclass(frozen=True, kw_only=True)
class FlowMaker:
    """A flow that is made anew for each execution, since it holds the state of its run.

    Attributes:
        make: Makes one; may be asynchronous.
    """

    make: Callable[[], Any]

    async def made(self) -> "Flow[Any]":
        """Return the flow of one execution."""
        made: Any = self.make()
        flow: Flow[Any] = await made if inspect.isawaitable(made) else made
        return flow


def own_crew(crew: Crew) -> Crew:
    """Return the copy of a crew for one execution; models, tools, memories and callbacks are shared.

    `Crew.copy` of CrewAI 1.15.30 is not used: it finds agents by role and tasks by text, so that of two alike one takes
    the place of both, fails where a crew names its `function_calling_llm`, and makes new clients of models.
    """
    copies: dict[int, Any] = {id(part): part.model_copy() for part in _parts(crew)}
    for own in list(copies.values()):
        fields = own.__dict__  # not by assignment, which would validate
        for held in (fields, own.__pydantic_private__ or {}):
            held.update({name: _owned(value, copies) for name, value in held.items()})
        fields["id"] = uuid4()  # by which CrewAI finds the files of a run
    copied: Crew = copies[id(crew)]
    return copied


def _parts(crew: Crew) -> Iterator[BaseModel]:
    """Yield the crew, its agents and its tasks, and those that only a task names."""
    waiting: list[object] = [crew]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        match part:
            case Crew():
                waiting += [*part.agents, *part.tasks, part.manager_agent]
            case Task():
                waiting += [part.agent, *(part.context if isinstance(part.context, list) else [])]
            case BaseAgent():
                pass
            case _:
                continue
        yield part


def _owned(value: object, copies: dict[int, Any]) -> object:
    """Return what takes the place of `value` in a copy; the value itself where it is shared."""
    if id(value) in copies:
        return copies[id(value)]
    if (own := _begun_anew(value, copies)) is not None:
        copies[id(value)] = own
        return own
    if type(value) in (list, set):
        items: Iterable[object] = value  # type: ignore[assignment]  # one of the two
        return type(value)(_owned(item, copies) for item in items)  # type: ignore[call-arg]  # as above
    if type(value) is dict:
        pairs: Mapping[object, object] = value
        return {key: _owned(item, copies) for key, item in pairs.items()}
    return value


def _begun_anew(value: object, copies: dict[int, Any]) -> object | None:
    """Return what agents and crews hold of one run alone, before the run; None for what is not."""
    match value:
        case CacheHandler() | TokenProcess():
            return type(value)()
        case ToolsHandler():
            cache: Any = _owned(value.cache, copies)
            return ToolsHandler(cache=cache)
        case TaskOutputStorageHandler():
            return _Unstored()
        case RPMController():
            return RPMController(max_rpm=value.max_rpm, logger=value.logger)
        case _:
            return None


class _Unstored(TaskOutputStorageHandler):
    """Keeps no outputs of tasks: CrewAI stores them for `replay`, all crews in one file that each run empties first."""

    def __init__(self) -> None:
        """Open no file."""

    def update(self, task_index: int, log: dict[str, Any]) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Do nothing."""


def flow_like(flow: "Flow[Any]") -> FlowMaker | None:
    """Return what makes flows like one that was made already: of its class, with the fields that it was given.

    None when its class has an `__init__` of its own: what that was given is not known.
    """
    if type(flow).__init__ is not Flow.__init__:
        return None
    given = {name: getattr(flow, name) for name in flow.model_fields_set}

    def make() -> "Flow[Any]":
        state = copy.deepcopy(given.get("initial_state"))
        return type(flow)(**(given if state is None else given | {"initial_state": state}))

    return FlowMaker(make=make)
