"""Streamed answers that LightAgent cannot read endlessly.

LightAgent 0.11.0 reads an answer again when it ended without a finish reason, or when reading it raised: for ever, on a
whole core. It also leaves an answer at its finish reason, with the connection half read, and reads one tool call of
each piece only.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from openai.types.chat import ChatCompletionChunk

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import CURRENT, ExecutionStopped

TOOLS_FOLLOW: Final = ("stop", "tool_calls")
"""Finish reasons after which LightAgent calls the tools that an answer asks for."""


class StreamedAnswer:
    """The pieces of one answer, to be read once.

    What is wrong with it ends the execution: LightAgent would swallow every `Exception`.
    """

    def __init__(self, pieces: Iterable[ChatCompletionChunk]) -> None:
        """Begin before the first piece; an answer that breaks off is closed, if it can be."""
        self._pieces = pieces
        self._unread: Iterator[ChatCompletionChunk] | None = iter(pieces)

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        """Yield the pieces, the last ones when all have come.

        Raises:
            ExecutionStopped: The answer broke off, has no finish reason, or was read before.
        """
        unread, self._unread = self._unread, None
        if unread is None:
            raise _unusable("LightAgent cannot go on from it")
        calls = False
        try:
            for piece in unread:
                choice = piece.choices[0] if piece.choices else None
                calls = calls or bool(choice and choice.delta.tool_calls)
                if choice is None or choice.finish_reason is None:
                    yield from _one_call_each(piece)
                    continue
                if calls and choice.finish_reason not in TOOLS_FOLLOW:
                    raise _unusable(f"it ended as {choice.finish_reason!r} in a tool call")
                rest = [*_one_call_each(piece), *unread]
                yield from rest
                return
        except Exception as error:
            self._close()  # so that the call is judged
            raise _unusable("it broke off", f"{type(error).__name__}: {error}") from error
        self._close()
        raise _unusable("it ended without a finish reason")

    def _close(self) -> None:
        if (close := getattr(self._pieces, "close", None)) is not None:
            close()


def _one_call_each(piece: ChatCompletionChunk) -> list[ChatCompletionChunk]:
    """Return pieces of one tool call each, the last of them with the finish reason."""
    calls = (piece.choices[0].delta.tool_calls if piece.choices else None) or []
    if len(calls) < 2:
        return [piece]
    pieces = [piece.model_copy(deep=True) for _ in calls]
    for number, (own, call) in enumerate(zip(pieces, calls, strict=True)):
        own.choices[0].delta.tool_calls = [call]
        if number:
            own.choices[0].delta.content = None
        if own is not pieces[-1]:
            own.choices[0].finish_reason = None
    return pieces


def _unusable(why: str, cause: str | None = None) -> ExecutionStopped:
    execution = CURRENT.get()
    fault = execution.model_fault if execution is not None else None
    return ExecutionStopped(
        fault
        or AgentError(
            ErrorCode.MODEL_BAD_OUTPUT, f"the model's streamed answer is unusable: {why}", cause=cause
        )
    )


class _Over:
    """An object with some attributes replaced."""

    def __init__(self, under: Any, **replaced: Any) -> None:
        vars(self).update(replaced, _under=under)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


def with_streamed_answers(client: Any) -> Any:
    """Return `client`, an `OpenAI` or what looks like it, with its streamed answers as `StreamedAnswer`."""
    completions = client.chat.completions

    def create(**parameters: Any) -> Any:
        answer = completions.create(**parameters)
        return StreamedAnswer(answer) if parameters.get("stream") else answer

    return _Over(client, chat=_Over(client.chat, completions=_Over(completions, create=create)))
