"""Executions outside of any worker, with a connection that remembers what is told."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from orchestrator_runtimes.codec import decode, encode
from orchestrator_runtimes.connection import Connection
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, EventNotification
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.messages import METHODS, Limits, Run


@dataclass
class Told:
    """Stands in for a connection: keeps events, and answers requests with what the test prepared."""

    events: list[Event] = field(default_factory=list[Event])
    sequences: list[int] = field(default_factory=list[int])
    asked: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    answers: Mapping[str, object] = field(default_factory=dict[str, object])
    closed: bool = False

    def post(self, method: str, params: object) -> None:
        """Keep an event."""
        assert method == "event"
        notification = decode(EventNotification, encode(params))
        self.events.append(notification.event)
        self.sequences.append(notification.sequence)

    async def notify(self, method: str, params: object) -> None:
        """Keep an event."""
        await asyncio.sleep(0)
        self.post(method, params)

    async def call(self, method: str, params: object, answer: type[Any], *, timeout: float) -> Any:
        """Give the prepared answer."""
        assert isinstance(params, METHODS[method][0]) and answer is METHODS[method][1] and timeout > 0
        self.asked.append((method, params))
        prepared = self.answers.get(method)
        if prepared is None:
            raise AgentError(ErrorCode.RUNTIME_CRASHED, "the trusted side is gone")
        if isinstance(prepared, Exception):
            raise prepared
        return prepared


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def execution(
    told: Told | None = None, *, clock: Clock | None = None, limits: Limits | None = None, **run: Any
) -> Execution:
    """Make an execution; call inside a running loop."""
    request = Run(execution="e1", agent="a", limits=limits or Limits(), **run)
    return Execution(request, cast(Connection, told or Told()), clock=clock or Clock())
