"""Every model call of a guest passes here: counted, limited, sent to its execution's endpoint, and judged.

The seam is `send` of the HTTP clients under every model SDK in use (httpx, and its successor httpx2), checked against
httpx 0.28 and httpx2 2.x. One patch serves five frameworks, streamed or not, from the loop or from threads. The OpenAI
SDK's own retries are off: a fault is retried in one place, by the trusted side.
"""

import importlib
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import ModelCall
from orchestrator_runtimes.execution import CURRENT, Execution
from orchestrator_runtimes.messages import Usage
from orchestrator_runtimes.model_answers import ENDPOINTS, AnswerStream, read_answer, status_fault
from orchestrator_runtimes.model_transport import DirectTransport

EXECUTION_HEADER: Final = "x-orchestrator-execution"

_CONNECT_SECONDS: Final = 60.0
_HTTP_LIBRARIES: Final = ("httpx", "httpx2")


def install() -> list[str]:
    """Patch the HTTP libraries that are installed, and switch the SDK's retries off; idempotent.

    Returns:
        The names of the libraries that are patched now.
    """
    patched: list[str] = []
    for name in _HTTP_LIBRARIES:
        if importlib.util.find_spec(name) is not None:
            _patch(importlib.import_module(name))
            patched.append(name)
    if importlib.util.find_spec("openai") is not None:
        options = importlib.import_module("openai._models").FinalRequestOptions
        options.get_max_retries = _no_retries
        importlib.import_module("openai.resources.chat.completions")  # else the first model call waits for it
    return patched


def _no_retries(_options: object, _max_retries: int) -> int:
    return 0


def _patch(http: Any) -> None:
    if getattr(http.Client.send, "observes_model_calls", False):
        return
    send, send_async = http.Client.send, http.AsyncClient.send
    tee, tee_async = _tees(http)
    direct = DirectTransport(http)

    def sent(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if direct.takes(client, request):
            response = direct.send(request, stream=kwargs.get("stream", False))
            if response is not None:
                return response
        return send(client, request, *args, **kwargs)

    async def sent_async(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if direct.takes(client, request):
            response = await direct.send_async(request, stream=kwargs.get("stream", False))
            if response is not None:
                return response
        return await send_async(client, request, *args, **kwargs)

    def observed(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if (call := _Call.of(request)) is None:
            return send(self, request, *args, **kwargs)
        try:
            response = sent(self, call.redirected(request, request.read()), *args, **kwargs)
            if response.status_code >= 400:
                response.read()
        except Exception as error:
            call.execution.emit_from_thread(call.end(None, call.fault_of(http, error)))
            raise
        if call.streams(response):
            response.stream = tee(response.stream, call)
        else:
            call.execution.emit_from_thread(call.judge(response))
        return response

    async def observed_async(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if (call := _Call.of(request)) is None:
            return await send_async(self, request, *args, **kwargs)
        try:
            response = await sent_async(
                self, call.redirected(request, await request.aread()), *args, **kwargs
            )
            if response.status_code >= 400:
                await response.aread()
        except Exception as error:
            await call.execution.emit(call.end(None, call.fault_of(http, error)))
            raise
        if call.streams(response):
            response.stream = tee_async(response.stream, call)
        else:
            await call.execution.emit(call.judge(response))
        return response

    observed.observes_model_calls = True  # type: ignore[attr-defined]  # marks the patch as done
    http.Client.send, http.AsyncClient.send = observed, observed_async


@dataclass
class _Call:
    """One model call on its way."""

    execution: Execution
    endpoint: str
    began: int
    started: float
    model: str = ""
    streamed: bool = False
    drop_usage: bool = False

    @staticmethod
    def of(request: Any) -> "_Call | None":
        """Begin a call when `request` is one; None for any other request.

        Raises:
            ExecutionStopped: The execution may make no further call.
            AgentError: `model_rejected` outside of any execution, or when the execution has no endpoint.
        """
        endpoint = next((e for e in ENDPOINTS if request.url.path.endswith(e)), None)
        if endpoint is None or request.method != "POST":
            return None
        execution = CURRENT.get()
        if execution is None:
            raise AgentError(
                ErrorCode.MODEL_REJECTED,
                "a model call outside of any execution is refused: call the model while the agent runs, not at import",
            )
        if execution.run.model is None:
            raise AgentError(ErrorCode.MODEL_REJECTED, "this execution was given no model endpoint")
        return _Call(execution, endpoint, execution.begin_model_call(), time.monotonic())

    def redirected(self, request: Any, content: bytes) -> Any:
        """Return the request as it goes out: to the execution's endpoint, with its name, asking for usage."""
        address = self.execution.run.model
        assert address is not None  # `of` refused otherwise
        body = self._read(content)
        headers = request.headers.copy()
        for name in ("host", "content-length", "authorization", "transfer-encoding"):
            headers.pop(name, None)
        headers["accept-encoding"] = "identity"  # so that the answer can be read as it passes
        headers[EXECUTION_HEADER] = self.execution.run.execution
        if address.api_key is not None:
            headers["authorization"] = f"Bearer {address.api_key}"
        if self.execution.run.traceparent is not None:
            headers["traceparent"] = self.execution.run.traceparent
        left = max(0.001, self.execution.seconds_left)
        timeout = dict(request.extensions.get("timeout") or {})
        timeout = {part: min(left, timeout.get(part) or left) for part in ("read", "write", "pool")}
        timeout["connect"] = min(left, _CONNECT_SECONDS)
        return type(request)(
            request.method,
            address.base_url.rstrip("/") + self.endpoint,
            headers=headers,
            content=body,
            extensions={**request.extensions, "timeout": timeout},
        )

    def _read(self, content: bytes) -> bytes:
        """Note what is asked, and ask for the usage of a stream where the caller did not."""
        try:
            body = json.loads(content)
            self.model, self.streamed = str(body.get("model", "")), body.get("stream") is True
        except (ValueError, AttributeError):
            return content  # the endpoint will say what is wrong with it
        if self.streamed and self.endpoint == "/chat/completions":
            options: dict[str, Any] = body.get("stream_options") or {}
            if not options.get("include_usage"):
                self.drop_usage = True
                body["stream_options"] = {**options, "include_usage": True}
                return json.dumps(body).encode()
        return content

    def streams(self, response: Any) -> bool:
        """True when the answer's body is still to come."""
        return not response.is_closed and not response.is_stream_consumed

    def judge(self, response: Any) -> ModelCall:
        """Account for an answer that has been read whole."""
        if response.status_code >= 400:
            return self.end(None, status_fault(response.status_code, response.content))
        return self.end(*read_answer(response.content))

    def end(self, usage: Usage | None, error: AgentError | None) -> ModelCall:
        """Account for the end of the call and return its event."""
        seconds = time.monotonic() - self.started
        return self.execution.end_model_call(
            self.began, model=self.model, seconds=seconds, usage=usage, error=error
        )

    def fault_of(self, http: Any, error: Exception) -> AgentError:
        """Translate an error of the HTTP library."""
        cause = f"{type(error).__name__}: {error}"
        if isinstance(error, http.TimeoutException):
            return AgentError(ErrorCode.TIMEOUT, "the model endpoint did not answer in time", cause=cause)
        return AgentError(ErrorCode.MODEL_UNAVAILABLE, "the model endpoint cannot be reached", cause=cause)


def _tees(http: Any) -> tuple[Any, Any]:
    """Return the two stream classes of `http` that judge an answer while it passes."""

    class Reading:
        """What both kinds of stream note of an answer."""

        def __init__(self, stream: Any, call: _Call) -> None:
            self._stream = stream
            self._call: _Call | None = call
            self._answer = AnswerStream(drop_usage=call.drop_usage) if call.streamed else None
            self._body = b""

        def feed(self, data: bytes) -> bytes:
            if self._answer is not None:
                return self._answer.feed(data)
            self._body += data
            return data

        def finish(self) -> tuple[bytes, ModelCall | None, AgentError | None]:
            call, self._call = self._call, None
            if call is None:
                return b"", None, None
            if self._answer is None:
                usage, error = read_answer(self._body)
                return b"", call.end(usage, error), None
            rest, error = self._answer.finish()
            return rest, call.end(self._answer.usage, error), None if self._answer.ended else error

        def failed(self, error: Exception) -> ModelCall | None:
            call, self._call = self._call, None
            return None if call is None else call.end(None, call.fault_of(http, error))

        def abandoned(self) -> ModelCall | None:
            """Account for an answer that the caller stopped reading, as SDKs do at its end mark."""
            call, self._call = self._call, None
            if call is None:
                return None
            if self._answer is None or not (self._answer.ended or self._answer.broken):
                return call.end(None, None)
            return call.end(self._answer.usage, self._answer.finish()[1])

    class Tee(Reading, http.SyncByteStream):  # type: ignore[misc]  # the library is not known here
        def __iter__(self) -> Iterator[bytes]:
            call = self._call
            assert call is not None
            try:
                for data in self._stream:
                    call.execution.check()
                    if passed := self.feed(data):
                        yield passed
            except Exception as error:
                if event := self.failed(error):
                    call.execution.emit_from_thread(event)
                raise
            rest, event, early = self.finish()
            if event:
                call.execution.emit_from_thread(event)
            if early:
                raise http.RemoteProtocolError(str(early))
            if rest:
                yield rest

        def close(self) -> None:
            call = self._call
            if call is not None and (event := self.abandoned()):
                call.execution.emit_from_thread(event)
            self._stream.close()

    class AsyncTee(Reading, http.AsyncByteStream):  # type: ignore[misc]  # as above
        async def __aiter__(self) -> AsyncIterator[bytes]:
            call = self._call
            assert call is not None
            try:
                async for data in self._stream:
                    call.execution.check()
                    if passed := self.feed(data):
                        yield passed
            except Exception as error:
                if event := self.failed(error):
                    await call.execution.emit(event)
                raise
            rest, event, early = self.finish()
            if event:
                await call.execution.emit(event)
            if early:
                raise http.RemoteProtocolError(str(early))
            if rest:
                yield rest

        async def aclose(self) -> None:
            call = self._call
            if call is not None and (event := self.abandoned()):
                await call.execution.emit(event)
            await self._stream.aclose()

    return Tee, AsyncTee
