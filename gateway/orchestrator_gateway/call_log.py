"""One line for each request: whose it was, where it went, how it ended; bodies only if the configuration says so."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from orchestrator_gateway.redaction import redacted

LOG: Final = logging.getLogger("orchestrator_gateway.calls")

_LONGEST: Final = 20_000
_LONGEST_FACT: Final = 200
_QUIET: Final = frozenset({"/health", "/ready", "/metrics"})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class CallFacts:
    """What is known of a request while it is served; None is not known.

    Attributes:
        tenant: Whose it is.
        execution: Which execution makes it.
        model: The model that it names.
        upstream: Who answered.
        served: What that upstream calls the model.
        replayed: Whether the answer comes from the journal.
        request: Its body.
        answer: The whole answer.
    """

    tenant: str | None = None
    execution: str | None = None
    model: str | None = None
    upstream: str | None = None
    served: str | None = None
    replayed: bool = False
    request: bytes = field(default=b"", repr=False)
    answer: bytes = field(default=b"", repr=False)


FACTS: Final = web.RequestKey("facts", CallFacts)


class CallLog:
    """Logs requests.

    Args:
        bodies: Whether requests and answers are logged.
        secrets: Keys that are blanked wherever they stand.
    """

    def __init__(self, *, bodies: bool = False, secrets: Collection[str] = ()) -> None:
        """Begin with no request."""
        self.bodies = bodies
        self.secrets = secrets

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Log a request when it has ended."""
        facts = request[FACTS] = CallFacts()
        began = time.monotonic()
        status = 499  # the client went away, or the gateway ends
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            if LOG.isEnabledFor(logging.INFO) and request.path not in _QUIET:
                LOG.info(self._line(request, facts, status, time.monotonic() - began))

    def _line(self, request: web.Request, facts: CallFacts, status: int, seconds: float) -> str:
        told: dict[str, object] = {
            "method": request.method,
            "path": request.path,
            "status": status,
            "seconds": round(seconds, 4),
            "tenant": facts.tenant,
            "execution": facts.execution,
            "model": facts.model,
            "upstream": facts.upstream,
            "served": facts.served,
            "replayed": facts.replayed or None,
        }
        if self.bodies:
            told |= {"request": self._body(facts.request), "answer": self._body(facts.answer)}
        return json.dumps(
            {key: _short(key, value) for key, value in told.items() if value is not None}, ensure_ascii=True
        )

    def _body(self, body: bytes) -> str | None:
        """Return a body without keys; of a long one the beginning, cut after keys are found."""
        return redacted(body.decode(errors="replace"), self.secrets)[:_LONGEST] if body else None


def _short(key: str, value: object) -> object:
    return value[:_LONGEST_FACT] if isinstance(value, str) and key not in ("request", "answer") else value
