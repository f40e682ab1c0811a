"""Asking a model endpoint once: with its key, and with a verdict on what it answered."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp

from orchestrator_gateway.buffers import Account, BuffersFull
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.refusals import Refused, Remedy, refusal
from orchestrator_gateway.routes import UpstreamSettings
from orchestrator_runtimes.model_answers import AnswerStream, read_answer
from orchestrator_runtimes.model_calls import EXECUTION_HEADER

ANSWER_BYTES: Final = 64 * 2**20
"""Longest answer that is taken."""

_ERROR_BYTES: Final = 2**20
_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_KEY_REFUSED: Final = frozenset({401, 402, 403})
"""The key is the gateway's: the guest can do nothing about it, another upstream may."""

_PASSED: Final = ("accept", "content-type", "traceparent", "tracestate", "openai-beta")


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A model endpoint and its key.

    Attributes:
        name: What the configuration calls it.
        settings: Where it is and how it is treated.
        api_key: Its bearer token; None when it wants none.
    """

    name: str
    settings: UpstreamSettings
    api_key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name it in an error; that of a gateway with only one has no name."""
        return f"the model endpoint {self.name!r}" if self.name else "the model endpoint"

    @property
    def headers(self) -> dict[str, str]:
        """What every request to it carries; nothing compressed is asked for: it may grow without end."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key is not None else {}
        return {"accept-encoding": "identity", **key}

    @property
    def timeout(self) -> aiohttp.ClientTimeout:
        """How long it may take: as long as it says something."""
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.settings.connect_seconds,
            sock_read=self.settings.silence_seconds,
        )

    def url(self, path: str) -> str:
        """Return the address of a path below its base URL."""
        return self.settings.base_url.rstrip("/") + path


class Listener(Protocol):
    """Whoever waits for an answer; it may be gone, which the call does not mind."""

    async def begin(self, content_type: str) -> None:
        """Take what the answer is."""
        ...

    async def write(self, data: bytes) -> None:
        """Take a piece of a stream."""
        ...


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An answer with a success for its status.

    Attributes:
        answer: The whole of it.
        rest: The bytes that the listener has not had.
        usable: Whether it may be kept and served again.
        cut: Whether its end is missing, which is the upstream's fault.
    """

    answer: Answer
    rest: bytes = field(repr=False)
    usable: bool
    cut: bool = False


class Begun(Protocol):
    """Whoever wants to know that an answer begins to come."""

    def __call__(self) -> None:
        """Take note."""
        ...


async def ask(
    session: aiohttp.ClientSession,
    upstream: Upstream,
    path: str,
    headers: Mapping[str, str],
    execution: str,
    body: bytes,
    listener: Listener,
    account: Account,
    begun: Begun,
) -> Taken:
    """Make one request.

    Args:
        session: Whose connections are used.
        upstream: Which endpoint.
        path: Below its base URL, beginning with a slash, with the query where there is one.
        headers: The guest's; few of them are passed on.
        execution: What the upstream is told of whose call it is: the token's word, not the guest's.
        body: The request.
        listener: Gets a stream's pieces as they come, up to where the answer is whole.
        account: Counts the memory that the answer takes.
        begun: Called when the upstream begins to answer with a success.

    Raises:
        Refused: It did not answer with a success; the listener has had nothing.
    """
    sent = upstream.headers | {name: headers[name] for name in _PASSED if name in headers}
    sent[EXECUTION_HEADER] = execution
    try:
        async with session.post(
            upstream.url(path), headers=sent, data=body, timeout=upstream.timeout, allow_redirects=False
        ) as response:
            if response.status >= 300:
                raise await _refused(upstream, response)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _fault(upstream, 502, "answers compressed, which it was not asked for")
            begun()
            return await _taken(upstream, response, listener, account)
    except TimeoutError as error:
        raise _fault(upstream, 504, "did not answer in time") from error
    except aiohttp.ClientError as error:
        raise _fault(upstream, 502, f"cannot be reached: {_why(error)}") from error
    except BuffersFull as error:
        raise refusal(
            503, "the gateway holds too many long answers now", remedy="again", retry_after=1.0
        ) from error


async def _taken(
    upstream: Upstream, response: aiohttp.ClientResponse, listener: Listener, account: Account
) -> Taken:
    content_type = response.headers.get("content-type", "application/json")
    if not content_type.startswith("text/event-stream"):
        body = await _read(upstream, response, account)
        await listener.begin(content_type)
        usage, fault = read_answer(body)
        answer = Answer(content_type=content_type, body=body, usage=usage)
        return Taken(answer=answer, rest=body, usable=fault is None)
    await listener.begin(content_type)
    stream, pieces, held = AnswerStream(drop_usage=False), list[bytes](), list[bytes]()
    cut, size = False, 0
    try:
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > ANSWER_BYTES:
                break
            account.add(len(piece))
            pieces.append(piece)
            passed = stream.feed(piece)
            if stream.ended or held:
                held.append(passed)  # the guest must not see the end of an answer that may still be lost
            elif passed:
                await listener.write(passed)
    except (aiohttp.ClientError, TimeoutError, BuffersFull) as error:
        cut = not isinstance(error, BuffersFull)  # the answer is cut off, which is its verdict
    rest, fault = stream.finish()
    answer = Answer(content_type=content_type, body=b"".join(pieces), usage=stream.usage)
    return Taken(answer=answer, rest=b"".join([*held, rest]), usable=fault is None, cut=cut)


async def _read(upstream: Upstream, response: aiohttp.ClientResponse, account: Account) -> bytes:
    pieces, size = list[bytes](), 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > ANSWER_BYTES:
            raise refusal(502, f"{upstream} answers with more than {ANSWER_BYTES} bytes")
        account.add(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


async def _refused(upstream: Upstream, response: aiohttp.ClientResponse) -> Refused:
    """Return an answer that is no success; the end of one that is very long is dropped."""
    if response.status < 400:
        what = f"answered {response.status}: it redirects, which is not followed; change its base_url"
        return refusal(502, f"{upstream} {what}", remedy="elsewhere")
    body = await response.content.read(_ERROR_BYTES)
    remedy: Remedy = "none"
    if response.status in _RETRIED:
        remedy = "again"
    elif response.status in _KEY_REFUSED:
        remedy = "elsewhere"
    return Refused(
        response.status,
        body,
        response.headers.get("content-type", "application/json"),
        remedy=remedy,
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def _seconds(asked: str | None) -> float | None:
    """Return how long an upstream asks to wait; None where it says nothing that is read."""
    return float(asked) if asked is not None and asked.isascii() and asked.isdigit() else None


def _fault(upstream: Upstream, status: int, what: str) -> Refused:
    return refusal(status, f"{upstream} {what}", remedy="again")


def _why(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno is not None:
        return os.strerror(error.os_error.errno)
    return type(error).__name__
