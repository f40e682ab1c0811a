"""Calling a model endpoint: with its key, in one place that retries, and with a verdict on what it answered."""

import asyncio
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp

from orchestrator_gateway.journal import Answer
from orchestrator_runtimes.model_answers import AnswerStream, read_answer
from orchestrator_runtimes.model_calls import EXECUTION_HEADER

ANSWER_BYTES: Final = 64 * 2**20
"""Longest answer that is taken."""

_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 300.0
"""How long an upstream may say nothing: a model thinks, it does not stop."""

TRIES: Final = 4
"""Most times that an upstream is asked for one answer."""

_LEAST_SECONDS: Final = 1.0
"""What an answer takes at least: with less time left the guest is better told what is wrong."""

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_PASSED: Final = ("accept", "content-type", "traceparent", "tracestate", "openai-beta")


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A model endpoint.

    Attributes:
        base_url: Up to and with `/v1`.
        api_key: Its bearer token; None when it wants none.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)


class Refused(Exception):
    """The upstream answered with an error, or not at all.

    Attributes:
        status: What the guest is told.
        body: The upstream's own words, or ours where it had none.
        content_type: Of the body.
    """

    def __init__(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Tell an error."""
        super().__init__(f"status {status}")
        self.status, self.body, self.content_type = status, body, content_type


class Listener(Protocol):
    """Whoever waits for an answer; it may be gone, which the call does not mind."""

    async def begin(self, content_type: str) -> None:
        """Take what the answer is."""
        ...

    async def write(self, data: bytes) -> None:
        """Take a piece of a stream."""
        ...


async def call(
    session: aiohttp.ClientSession,
    upstream: Upstream,
    path: str,
    headers: Mapping[str, str],
    execution: str,
    body: bytes,
    listener: Listener,
    until: float,
) -> tuple[Answer, bytes, bool]:
    """Make a call, again where the upstream failed before it answered.

    Args:
        session: Whose connections are used.
        upstream: Which endpoint.
        path: Below its base URL, beginning with a slash.
        headers: The guest's; few of them are passed on.
        execution: What the upstream is told of whose call it is: the token's word, not the guest's.
        body: The request as the guest sent it.
        listener: Gets a stream's pieces as they come, up to where the answer is whole.
        until: Unix time at which nobody waits for the answer any more; nothing is tried again after it.

    Returns:
        The answer, the bytes that the listener has not had, and whether the answer is usable.

    Raises:
        Refused: It did not answer with a success.
    """
    sent = {name: headers[name] for name in _PASSED if name in headers}
    sent[EXECUTION_HEADER] = execution
    if upstream.api_key is not None:
        sent["authorization"] = f"Bearer {upstream.api_key}"
    for number in range(TRIES):
        try:
            async with session.post(
                upstream.base_url.rstrip("/") + path, headers=sent, data=body
            ) as response:
                if response.status < 400:
                    return await _taken(response, listener)
                refused = Refused(response.status, await _read(response), response.content_type)
                asked = response.headers.get("retry-after")
        except (aiohttp.ClientError, TimeoutError) as error:
            refused, asked = _no_answer(error), None
        pause = _pause(number, asked)
        hopeless = time.time() + pause + _LEAST_SECONDS > until
        if refused.status not in _RETRIED or number == TRIES - 1 or hopeless:
            raise refused
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def timeout() -> aiohttp.ClientTimeout:
    """Return how long an upstream may take: as long as it says something."""
    return aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)


async def _taken(response: aiohttp.ClientResponse, listener: Listener) -> tuple[Answer, bytes, bool]:
    content_type = response.headers.get("content-type", "application/json")
    if not content_type.startswith("text/event-stream"):
        body = await _read(response)
        await listener.begin(content_type)
        usage, fault = read_answer(body)
        return Answer(content_type=content_type, body=body, usage=usage), body, fault is None
    await listener.begin(content_type)
    stream, pieces, held = AnswerStream(drop_usage=False), list[bytes](), list[bytes]()
    size = 0
    try:
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > ANSWER_BYTES:
                break
            pieces.append(piece)
            passed = stream.feed(piece)
            if stream.ended or held:
                held.append(passed)  # the guest must not see the end of an answer that may still be lost
            elif passed:
                await listener.write(passed)
    except (aiohttp.ClientError, TimeoutError):
        pass  # the answer is cut off, which is its verdict
    rest, fault = stream.finish()
    answer = Answer(content_type=content_type, body=b"".join(pieces), usage=stream.usage)
    return answer, b"".join([*held, rest]), fault is None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = list[bytes](), 0
    async for piece in response.content.iter_any():
        size += len(piece)
        pieces.append(piece)
        if size > ANSWER_BYTES:
            return _words(f"the model endpoint's answer is longer than {ANSWER_BYTES} bytes")
    return b"".join(pieces)


def _no_answer(error: BaseException) -> Refused:
    if isinstance(error, TimeoutError):
        return Refused(504, _words("the model endpoint did not answer in time"))
    why = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno is not None:
        why = os.strerror(error.os_error.errno)
    return Refused(502, _words(f"the model endpoint cannot be reached: {why}"))


def _words(text: str) -> bytes:
    return b'{"error": {"message": "%s", "type": "gateway"}}' % text.encode()


def _pause(number: int, asked: str | None) -> float:
    """Return for how long to wait: as the upstream asks, else longer each time, and never all at the same moment."""
    if asked is not None and asked.isdigit():
        return min(float(asked), _LONGEST_PAUSE_SECONDS)
    return min(_FIRST_PAUSE_SECONDS * (1 << number), _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)
