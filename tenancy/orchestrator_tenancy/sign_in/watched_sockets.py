"""Websockets that end when whoever opened them may not have them any more."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENDED: Final = 4401
"""Close code (RFC 6455, section 7.4.2): sign in again."""

_GRACE_SECONDS: Final = 5.0
"""How long an application has to end after its websocket was closed."""


async def serve_watched(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    may_go_on: Callable[[], Awaitable[bool]],
    seconds: float,
) -> None:
    """Serve a websocket until it ends, or may not go on.

    Args:
        app: Serves it.
        scope: Of the websocket.
        receive: As of ASGI.
        send: As of ASGI.
        may_go_on: Asked again and again.
        seconds: Between two questions.
    """
    ended = False

    async def sent(message: Message) -> None:
        if not ended:
            await send(message)

    async def received() -> Message:
        if ended:
            return {"type": "websocket.disconnect", "code": ENDED, "reason": ""}
        return await receive()

    async def watched() -> None:
        while await may_go_on():
            await asyncio.sleep(seconds)

    serving = asyncio.ensure_future(app(scope, received, sent))
    watching = asyncio.create_task(watched())
    try:
        await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            ended = True
            with contextlib.suppress(Exception):  # it may be closed already
                await send({"type": "websocket.close", "code": ENDED, "reason": "sign in again"})
            await asyncio.wait({serving}, timeout=_GRACE_SECONDS)
    finally:
        for task in (serving, watching):
            task.cancel()
        await asyncio.gather(serving, watching, return_exceptions=True)
    if not serving.cancelled() and not ended:
        serving.result()
