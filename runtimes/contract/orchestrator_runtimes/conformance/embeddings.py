"""Deterministic embeddings: equal texts have equal vectors of unit length, different texts different ones."""

import base64
import math
import struct
from hashlib import blake2b
from typing import Final

from orchestrator_runtimes.conformance.conversations import MalformedRequest, tokens
from orchestrator_runtimes.conformance.json_tree import JsonObject, as_list

_DIMENSIONS: Final = 1_536
_MOST_DIMENSIONS: Final = 8_192
_DIGEST: Final = 64


def texts_of(body: JsonObject) -> list[str]:
    """Return the texts of an embeddings request; lists of token numbers read as their decimal digits.

    Raises:
        MalformedRequest: `input` is neither a text, nor a list of texts, nor tokens.
    """
    given = body.get("input")
    if isinstance(given, str):
        return [given]
    items = as_list(given)
    if items and all(isinstance(item, int) for item in items):
        return [" ".join(map(str, items))]
    texts = [item if isinstance(item, str) else " ".join(map(str, as_list(item))) for item in items]
    if not texts or not all(isinstance(item, str | list) for item in items):
        raise MalformedRequest("'input' must be a text, a list of texts, or tokens")
    return texts


def embeddings(body: JsonObject, texts: list[str]) -> JsonObject:
    """Return the body of the response: one vector for each text, as numbers or in base64 as the request asks.

    Raises:
        MalformedRequest: `dimensions` is no number from 1 to 8,192.
    """
    dimensions = body.get("dimensions") or _DIMENSIONS
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise MalformedRequest(f"'dimensions' must be a number from 1 to {_MOST_DIMENSIONS}")
    encoded = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector) if encoded else vector}
        for index, vector in enumerate(_vector(text, dimensions) for text in texts)
    ]
    count = sum(map(tokens, texts))
    return {
        "object": "list",
        "model": body.get("model"),
        "data": data,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _vector(text: str, dimensions: int) -> list[float]:
    digest = blake2b(text.encode(errors="replace"), digest_size=_DIGEST).digest()
    # odd numbers, so that no vector is zero
    pattern = [2 * byte - 255 for byte in digest]
    values = (pattern * (dimensions // _DIGEST + 1))[:dimensions]
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]


def _encoded(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
