"""How many tokens a call may use, before it is made and where the upstream does not tell."""

from collections.abc import Mapping
from typing import Final

from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Usage

BYTES_OF_TOKEN: Final = 4
"""Of a request's JSON: tokenizers make one token of three to five bytes of English, and JSON's own signs count here."""

OUTPUT_TOKENS: Final = 1_000
"""Output of a call whose request does not bound it."""

MOST_TOKENS: Final = 20_000_000
"""Of input or output of one call. What tells more is not believed: no model takes a tenth of it."""

_BOUNDS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_MOST_CHOICES: Final = 128


def estimated(body: Json, size: int) -> Usage:
    """Return what a call may use: its input by the size of the request, its output by the bound that it asks for.

    Args:
        body: The request of any endpoint.
        size: Its bytes.
    """
    asked: Mapping[str, Json] = body if isinstance(body, Mapping) else {}
    output = next(
        (bound for name in _BOUNDS if (bound := _whole(asked.get(name))) is not None), OUTPUT_TOKENS
    )
    choices = min(_whole(asked.get("n")) or 1, _MOST_CHOICES)
    return Usage(
        input_tokens=min(-(-size // BYTES_OF_TOKEN), MOST_TOKENS),
        output_tokens=min(output * choices, MOST_TOKENS),
    )


def counted(told: Usage | None, expected: Usage) -> tuple[Usage, bool]:
    """Return the tokens that a call counts with, and whether they are the estimate.

    Args:
        told: By the upstream; None when it told none that are counts.
        expected: The estimate, which counts where the upstream told none, or more than any model takes.
    """
    if told is None or max(told.input_tokens, told.output_tokens) > MOST_TOKENS:
        return expected, True
    return told, False


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
