"""Which models a guest may ask for: the aliases, and those of the upstream that gets all other names."""

import urllib.parse
from collections.abc import Collection, Mapping
from typing import Final

import aiohttp

from orchestrator_gateway.dispatch import Dispatcher
from orchestrator_gateway.refusals import refusal
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse

_SECONDS: Final = aiohttp.ClientTimeout(total=30.0)
_LONGEST_BYTES: Final = 4 * 2**20


async def model_list(
    session: aiohttp.ClientSession,
    dispatcher: Dispatcher,
    name: str | None,
    allowed: Collection[str] | None = None,
) -> tuple[int, bytes]:
    """Return the status and the body of what a guest is told of models.

    Args:
        session: Whose connections are used.
        dispatcher: Knows the aliases.
        name: One model; None asks for all.
        allowed: Names that are told where all are asked for; None tells all.

    Raises:
        Refused: The upstream does not answer, or there is no such model.
    """
    aliases = [_model(alias) for alias in dispatcher.aliases if allowed is None or alias in allowed]
    if name is not None and name in dispatcher.aliases:
        return 200, dump(_model(name))
    if dispatcher.default is None:
        if name is not None:
            raise refusal(404, f"the gateway knows no model {name!r:.80}", code="model_not_found")
        return 200, dump({"object": "list", "data": aliases})
    upstream = dispatcher.default
    path = "/models" if name is None else f"/models/{urllib.parse.quote(name)}"
    try:
        async with session.get(
            upstream.url(path), headers=upstream.headers, timeout=_SECONDS, allow_redirects=False
        ) as found:
            content = b""
            async for piece in found.content.iter_any():
                content += piece
                if len(content) > _LONGEST_BYTES:
                    raise refusal(502, f"{upstream} has too many models to list")
            status = found.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise refusal(502, f"{upstream} does not answer: {type(error).__name__}") from error
    if name is not None or status != 200 or not (aliases or allowed is not None):
        return status, content
    return 200, dump({"object": "list", "data": [*aliases, *_listed(content, allowed)]})


def _listed(content: bytes, allowed: Collection[str] | None) -> list[Json]:
    """Return the models that an upstream lists, of those that may be told; none where it answers something else."""
    try:
        value = parse(content)
    except NotJson:
        return []
    data = value.get("data") if isinstance(value, Mapping) else None
    listed: list[Json] = list(data) if isinstance(data, list) else []
    if allowed is None:
        return listed
    return [model for model in listed if isinstance(model, Mapping) and model.get("id") in allowed]


def _model(alias: str) -> Json:
    return {"id": alias, "object": "model", "created": 0, "owned_by": "gateway"}
