"""What a scripted endpoint has seen: one `Call` for each request."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator_runtimes.conformance.http_requests import HttpRequest
from orchestrator_runtimes.conformance.json_tree import JsonObject
from orchestrator_runtimes.conformance.scripts import FaultKind

EXECUTION_HEADER: Final = "x-orchestrator-execution"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to a scripted model, and what became of it.

    Attributes:
        number: Place among all requests, from 0.
        time: Unix seconds at which the whole request had arrived.
        script: Name of the script; empty for the default one.
        method: HTTP method.
        path: Path below the base URL, such as `/chat/completions`; the whole path where that is not known.
        headers: Request headers by lower-case name.
        execution: Value of `x-orchestrator-execution`; None when the header is missing.
        authorization: Value of `authorization`; None when the header is missing.
        body: The request body; None when it was not a JSON object.
        streamed: The response is a stream of events.
        status: HTTP status of the reply; 0 when nothing is sent.
        turn_call: Number of this model call in its conversation's turn; 0 when the request is no
            conversation.
        fault: What misbehaved; None when nothing did.
        input_tokens: Tokens of the prompt that the model answered; 0 when it did not.
        output_tokens: Tokens of its answer; 0 when it gave none.
        disconnected: The client went away before the reply was over.
    """

    number: int
    time: float
    script: str
    method: str
    path: str
    headers: Mapping[str, str]
    execution: str | None
    authorization: str | None
    body: JsonObject | None
    streamed: bool = False
    status: int = 0
    turn_call: int = 0
    fault: FaultKind | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    disconnected: bool = False


@dataclass(kw_only=True)
class CallLog:
    """The latest calls and their counts.

    Attributes:
        most: Calls kept; older ones are forgotten, and still counted.
        count: Calls since the last reset.
        active: Calls whose reply is not over.
        peak_active: The most calls that were active at once since the last reset.
    """

    most: int
    count: int = 0
    active: int = 0
    peak_active: int = 0
    _calls: dict[int, Call] = field(default_factory=dict[int, Call])
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls kept, oldest first. Safe to read from another thread."""
        return tuple(self._calls.values())

    def begin(self, request: HttpRequest, script: str, path: str, body: JsonObject | None) -> Call:
        """Return the call for a request that has arrived; `keep` it once its reply is known."""
        self.count += 1
        self.active += 1
        self.peak_active = max(self.peak_active, self.active)
        return Call(
            number=next(self._numbers),
            time=time.time(),
            script=script,
            method=request.method,
            path=path,
            headers=request.headers,
            execution=request.headers.get(EXECUTION_HEADER),
            authorization=request.headers.get("authorization"),
            body=body,
        )

    def keep(self, call: Call) -> None:
        """Add a call, and forget the oldest above `most`."""
        self._calls[call.number] = call
        if len(self._calls) > self.most:
            del self._calls[next(iter(self._calls))]

    def end(self, number: int, *, disconnected: bool) -> None:
        """Take note that the reply to call `number` is over."""
        self.active -= 1
        call = self._calls.get(number)
        if disconnected and call:
            self._calls[number] = replace(call, disconnected=True)

    def reset(self) -> None:
        """Forget every call; those still active stay active."""
        self._calls.clear()
        self.count = 0
        self.peak_active = self.active
