"""Where a call goes: by its model's routes, past upstreams that cannot serve, with patience and an end."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from orchestrator_gateway.breakers import Breaker, Passage
from orchestrator_gateway.buffers import Account
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.refusals import Refused, error_body, refusal
from orchestrator_gateway.request_models import with_model
from orchestrator_gateway.routes import Default, Model, Route, UpstreamSettings, routes
from orchestrator_gateway.telemetry import CallWatch
from orchestrator_gateway.turns import QueueFull, TurnLimits, Turns, WaitedInVain
from orchestrator_gateway.upstream import Listener, Taken, Upstream, ask

TRIES: Final = 4
"""Most times that all upstreams of a call are asked for one answer."""

_LEAST_SECONDS: Final = 1.0
"""What an answer takes at least: with less time left the guest is better told what is wrong."""

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 10.0
"""How long a call waits, altogether, for upstreams that are left alone: a restart of theirs ends before."""

_NAMES: Final = 20


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Where calls may go.

    Attributes:
        upstreams: The model endpoints.
        models: Aliases.
        default: For models that are no alias; None refuses them.
    """

    upstreams: tuple[Upstream, ...]
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    default: Default | None = None


def single(base_url: str, api_key: str | None) -> Routing:
    """Return the routing of a gateway with one endpoint, which gets every model by its own name."""
    upstream = Upstream(name="", settings=UpstreamSettings(base_url=base_url), api_key=api_key)
    return Routing(upstreams=(upstream,), default=Default(upstream=""))


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A call of a guest.

    Attributes:
        path: Below `/v1`, with the query where there is one.
        headers: The guest's.
        content: Its body.
        model: The model that the body names; None when it names none.
        tenant: Whose it is.
        execution: Which execution makes it.
        until: Unix time at which nobody waits for the answer any more; nothing is tried again after it.
        watch: Is told who is asked.
    """

    path: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    model: str | None
    tenant: str
    execution: str
    until: float
    watch: CallWatch = field(default_factory=CallWatch)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A call that was answered.

    Attributes:
        answer: The whole answer.
        rest: The bytes of it that the guest has not had.
        usable: Whether it may be kept and served again.
        upstream: Who answered.
        model: What that upstream calls the model; None when the request named none.
    """

    answer: Answer
    rest: bytes = field(repr=False)
    usable: bool
    upstream: str
    model: str | None


class _Endpoint:
    """An upstream with what is known of it."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.breaker = Breaker(upstream.settings.breaker)
        self.turns = Turns(_limits(upstream.settings))

    def change(self, upstream: Upstream) -> None:
        """Take other settings and keep what is known, unless it is another place."""
        if upstream.settings.base_url != self.upstream.settings.base_url:
            self.breaker = Breaker(upstream.settings.breaker)
        self.upstream = upstream
        self.breaker.settings = upstream.settings.breaker
        self.turns.change(_limits(upstream.settings))


class Dispatcher:
    """Sends calls to upstreams; the routing may change at any time, also for calls that wait."""

    def __init__(self, routing: Routing) -> None:
        """Begin with upstreams of which nothing is known."""
        self._routing = routing
        self._endpoints = {upstream.name: _Endpoint(upstream) for upstream in routing.upstreams}

    @property
    def aliases(self) -> Sequence[str]:
        """The names of models that are this gateway's own."""
        return sorted(self._routing.models)

    @property
    def default(self) -> Upstream | None:
        """Where models go that are no alias; None when they are refused."""
        default = self._routing.default
        return None if default is None else self._endpoints[default.upstream].upstream

    def states(self) -> dict[str, dict[str, str | int]]:
        """Return what is known of each upstream."""
        return {
            name: {
                "breaker": endpoint.breaker.state,
                "busy": endpoint.turns.busy,
                "waiting": endpoint.turns.waiting,
            }
            for name, endpoint in self._endpoints.items()
        }

    def change(self, routing: Routing) -> None:
        """Use another routing from now on."""
        for upstream in routing.upstreams:
            if upstream.name in self._endpoints:
                self._endpoints[upstream.name].change(upstream)
            else:
                self._endpoints[upstream.name] = _Endpoint(upstream)
        self._routing = routing
        for gone in self._endpoints.keys() - {upstream.name for upstream in routing.upstreams}:
            del self._endpoints[gone]

    async def call(
        self, session: aiohttp.ClientSession, request: ModelRequest, listener: Listener, account: Account
    ) -> Served:
        """Make a call, elsewhere and again where an upstream fails before it answers.

        Raises:
            Refused: No upstream answered with a success.
        """
        number, patience = 0, _PATIENCE_SECONDS
        while True:
            failed: list[Refused] = []
            for route in self._order(request):
                try:
                    return await self._ask(session, route, request, listener, account)
                except Refused as error:
                    if error.remedy == "none":
                        raise
                    failed.append(error)
            told = next((error for error in failed if not error.ours), failed[0])
            again = [error for error in failed if error.remedy == "again"]
            if not again:
                raise told
            pause = min(_pause(number, error.retry_after) for error in again)
            if all(isinstance(error, _LeftAlone) for error in again):
                patience -= pause
            else:
                number += 1
            if number == TRIES or patience < 0 or time.time() + pause + _LEAST_SECONDS > request.until:
                raise told
            await asyncio.sleep(pause)

    def names(self, request: ModelRequest) -> Sequence[str]:
        """Return what the upstreams that a call may go to call its model; a nameless model is the empty text.

        Raises:
            Refused: The model is not known.
        """
        return list(dict.fromkeys(route.model or request.model or "" for route in self._order(request)))

    def _order(self, request: ModelRequest) -> list[Route]:
        """Return the routes of a call: first targets that are free now, then those that are not, then fallbacks."""
        routing = self._routing
        seed = f"{request.tenant}/{request.execution}/{request.model}"
        found = routes(routing.models, routing.default, request.model, seed)
        if not found:
            raise _unknown_model(request.model, self.aliases)

        def rank(route: Route) -> int:
            return 2 if route.fallback else int(not self._endpoints[route.upstream].turns.free)

        return sorted(found, key=rank)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        route: Route,
        request: ModelRequest,
        listener: Listener,
        account: Account,
    ) -> Served:
        endpoint = self._endpoints.get(route.upstream)
        if endpoint is None:
            raise refusal(
                503, f"upstream {route.upstream!r} was taken out of the configuration", remedy="again"
            )
        if endpoint.breaker.seconds_left() > 0:
            raise _left_alone(endpoint)
        content, upstream = request.content, endpoint.upstream
        request.watch.asks(upstream.settings.base_url, route.model)
        if route.model is not None:
            content = with_model(content, route.model)
        try:
            async with endpoint.turns.turn(request.tenant, request.until - time.time()):
                taken = await self._ask_once(session, endpoint, request, content, listener, account)
        except QueueFull as error:
            raise refusal(
                429,
                f"too many calls wait for {upstream}; raise its limits or its max_waiting",
                code="queue_full",
                remedy="elsewhere",
                retry_after=5.0,
            ) from error
        except WaitedInVain as error:
            raise refusal(
                429,
                f"the call waited for its turn at {upstream} until its execution's time was over",
                code="waited_in_vain",
                retry_after=5.0,
            ) from error
        return Served(
            answer=taken.answer,
            rest=taken.rest,
            usable=taken.usable,
            upstream=upstream.name,
            model=request.model if route.model is None else route.model,
        )

    async def _ask_once(
        self,
        session: aiohttp.ClientSession,
        endpoint: _Endpoint,
        request: ModelRequest,
        content: bytes,
        listener: Listener,
        account: Account,
    ) -> Taken:
        """Ask one upstream, and tell its breaker how it went."""
        breaker = endpoint.breaker
        passage = breaker.enter()
        if passage is None:
            raise _left_alone(endpoint)

        def begun() -> None:
            nonlocal passage
            assert passage is not None
            passage = breaker.begun(passage)

        try:
            taken = await ask(
                session,
                endpoint.upstream,
                request.path,
                request.headers,
                request.execution,
                content,
                listener,
                account,
                begun,
            )
        except Refused as error:
            _tell(breaker, passage, broken=error.status >= 500)
            if error.status == 429 and error.retry_after is not None:
                endpoint.turns.hold(error.retry_after)
            raise
        except BaseException:
            breaker.abandoned(passage)
            raise
        _tell(breaker, passage, broken=taken.cut)
        return taken


class _LeftAlone(Refused):
    """An upstream was not asked: it failed too often."""


def _left_alone(endpoint: _Endpoint) -> _LeftAlone:
    seconds = max(endpoint.breaker.seconds_left(), 0.05)
    failures = endpoint.breaker.settings.failures
    told = error_body(
        f"{endpoint.upstream} failed {failures} times in a row and is left alone", code="breaker_open"
    )
    return _LeftAlone(503, told, remedy="again", retry_after=seconds, ours=True)


def _tell(breaker: Breaker, passage: Passage, *, broken: bool) -> None:
    if broken:
        breaker.failed(passage)
    else:
        breaker.succeeded(passage)


def _unknown_model(model: str | None, aliases: Sequence[str]) -> Refused:
    there = ", ".join(aliases[:_NAMES]) + (", …" if len(aliases) > _NAMES else "")
    return refusal(
        404,
        f"the gateway knows no model {model!r:.80}; there are {there}"
        if model is not None
        else f"the request names no model; there are {there}",
        kind="invalid_request_error",
        code="model_not_found",
    )


def _limits(settings: UpstreamSettings) -> TurnLimits:
    return TurnLimits(
        max_concurrent=settings.max_concurrent,
        requests_per_minute=settings.requests_per_minute,
        max_waiting=settings.max_waiting,
    )


def _pause(number: int, asked: float | None) -> float:
    """Return for how long to wait: as the upstream asks, else longer each time, and never all at the same moment."""
    if asked is not None:
        return min(asked, _LONGEST_PAUSE_SECONDS)
    return min(_FIRST_PAUSE_SECONDS * (1 << number), _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)
