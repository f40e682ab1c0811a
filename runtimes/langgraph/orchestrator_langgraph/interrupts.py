"""Graphs that were interrupted: what they ask, and what they are answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.types import Command, Interrupt

from orchestrator_langgraph.graph_values import plain
from orchestrator_runtimes.json_values import Json


def asked(interrupts: Sequence[Interrupt]) -> object:
    """Return what a graph asks: the value of its `interrupt()`, a list where several branches wait at once."""
    values = [plain(interrupt.value) for interrupt in interrupts]
    return values[0] if len(values) == 1 else values


def answer(interrupts: Sequence[Interrupt], decision: Json) -> Command[Any]:
    """Return what the graph goes on with.

    Args:
        interrupts: What it asked, in that order.
        decision: What `interrupt()` returns. Where several branches wait, a list of as many is one for each of them.
    """
    each: Sequence[Json] = [decision] * len(interrupts)
    if len(interrupts) > 1 and isinstance(decision, list | tuple) and len(decision) == len(interrupts):
        each = list(decision)
    pairs = zip(interrupts, each, strict=True)
    return Command(resume={interrupt.id: _told(interrupt.value, one) for interrupt, one in pairs})


def _told(value: Any, decision: Json) -> Any:
    """Return a decision as who asked understands it: LangChain's HumanInTheLoopMiddleware wants one for each call."""
    actions = value.get("action_requests") if isinstance(value, Mapping) else None
    if not isinstance(actions, Sequence) or not isinstance(decision, Mapping) or "approved" not in decision:
        return decision
    one: dict[str, Any] = {"type": "approve"}
    if decision["approved"] is not True:
        one = {"type": "reject", "message": str(decision.get("reason") or "a person refused this call")}
    return {"decisions": [dict(one) for _ in actions]}
