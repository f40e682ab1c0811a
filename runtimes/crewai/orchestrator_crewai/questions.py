"""What crews and flows ask humans: it ends their execution, and is answered when they run again with what was decided.

CrewAI keeps no place to go on from, so a decided execution runs from its beginning: model calls and finished tools come
from the journal, and so it arrives at the same question.
"""

import json
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from crewai.core.providers.human_input import AsyncExecutorContext, ExecutorContext, SyncHumanInputProvider
from crewai.flow.flow_config import flow_config

from orchestrator_crewai.run_values import as_text, output_of
from orchestrator_runtimes.json_values import Json

_NO_REASON: Final = "a person did not accept this; do it in another way"


class Asked(BaseException):
    """Ends a crew or a flow that asks; no `Exception`, which CrewAI would take for an empty answer.

    Attributes:
        name: Of the question in its execution.
        question: What is asked, as JSON.
    """

    def __init__(self, name: str, question: object) -> None:
        """End it."""
        super().__init__(name)
        self.name = name
        self.question = question


class Questions:
    """The questions of one execution, and what was decided.

    Args:
        decisions: By name of the question.
    """

    def __init__(self, decisions: Mapping[str, Json]) -> None:
        self._decisions = decisions
        self._counts: dict[str, int] = {}

    def answer(self, kind: str, about: str, question: Mapping[str, object]) -> Json:
        """Return what was decided.

        Args:
            kind: Who asks: a task, a method, a flow.
            about: Names what asks in the crew or flow; the same in every try.
            question: What a person is to read.

        Raises:
            Asked: Nothing was.
        """
        asks = json.dumps([kind, about])
        number = self._counts[asks] = self._counts.get(asks, -1) + 1
        name = json.dumps([kind, about, number])
        if name not in self._decisions:
            raise Asked(name, {"asks": kind, **question})
        return self._decisions[name]


QUESTIONS: ContextVar[Questions] = ContextVar("orchestrator_crewai_questions")
"""Of the execution that the running code belongs to."""


class People(SyncHumanInputProvider):
    """Takes the place of the terminal, for tasks with `human_input=True`, `@human_feedback` and `Flow.ask`."""

    def handle_feedback(self, formatted_answer: Any, context: ExecutorContext) -> Any:
        """Let a person accept a task's answer, or say what is to be better, until it is accepted."""
        while (feedback := _feedback(context, formatted_answer)) is not None:
            context.messages.append(context._format_feedback_message(feedback))  # pyright: ignore[reportPrivateUsage]  # as CrewAI's own provider does
            formatted_answer = context._invoke_loop()  # pyright: ignore[reportPrivateUsage]
        context.ask_for_human_input = False
        return formatted_answer

    async def handle_feedback_async(self, formatted_answer: Any, context: AsyncExecutorContext) -> Any:
        """Do the same for a task that runs on a loop."""
        while (feedback := _feedback(context, formatted_answer)) is not None:
            context.messages.append(context._format_feedback_message(feedback))  # pyright: ignore[reportPrivateUsage]
            formatted_answer = await context._ainvoke_loop()  # pyright: ignore[reportPrivateUsage]
        context.ask_for_human_input = False
        return formatted_answer

    def request_feedback(self, context: Any, flow: Any) -> str:
        """Return what a person says about the output of a flow's method."""
        question = {"message": context.message, "output": output_of(context.method_output)}
        if context.emit:
            question["outcomes"] = list(context.emit)
        decision = QUESTIONS.get().answer("method", str(context.method_name), question)
        return _said(decision)

    def request_input(self, message: str, flow: Any, metadata: Mapping[str, Any] | None = None) -> str:
        """Return what a person answers to a flow."""
        return _said(QUESTIONS.get().answer("flow", message, {"message": message}))


def _feedback(context: ExecutorContext, answer: Any) -> str | None:
    """Return what a person wants better of a task's answer; None when it is accepted."""
    task = context.task
    about = "" if task is None else task.name or task.description
    question = {"task": "" if task is None else task.description, "answer": as_text(output_of(answer.output))}
    decision = QUESTIONS.get().answer("task", about, question)
    if isinstance(decision, str):
        return decision or None
    told = decision if isinstance(decision, Mapping) else {}
    return None if told.get("approved") is True else str(told.get("reason") or _NO_REASON)


def _said(decision: Json) -> str:
    """Return a decision in words, as CrewAI wants it: those of a person, or the verdict with its reason."""
    told = decision if isinstance(decision, Mapping) else {}
    if "approved" not in told:
        return as_text(decision)
    verdict = "approved" if told["approved"] is True else "rejected"
    return f"{verdict}: {told['reason']}" if told.get("reason") else verdict


def ask_people_in_flows() -> None:
    """Let flows ask, where their author named nobody who answers."""
    flow_config.hitl_provider = flow_config.input_provider = People()
