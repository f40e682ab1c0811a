"""Subscriptions that end when what their tenant may see has changed since they began.

The sign-in ends a websocket whose person may not have it any more; it knows no locations of tenants.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from graphql import ExecutionResult, GraphQLError


class Rights(Protocol):
    """A context of a request, as far as it says whether it still holds."""

    def holds(self) -> bool:
        """Return whether a new request would see the same."""
        ...


def while_they_hold(subscribe: Callable[..., Any]) -> Callable[..., Any]:
    """Return what subscribes as `subscribe` does, and ends instead of telling what a new request would not be told."""

    async def subscribed(*given: Any, context: Any, **named: Any) -> Any:
        answers = await subscribe(*given, context=context, **named)
        if isinstance(answers, ExecutionResult) or not hasattr(context, "holds"):
            return answers
        return _checked(answers, context)

    return subscribed


async def _checked(answers: AsyncIterator[ExecutionResult], rights: Rights) -> AsyncIterator[ExecutionResult]:
    async for answer in answers:
        # in a thread: the directory may have to be read
        if not await asyncio.to_thread(rights.holds):
            raise GraphQLError("what your tenant may see has changed: reload the page")
        yield answer
