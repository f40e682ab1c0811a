"""What Dagster shows of an error of an agent."""

from typing import Any, Final

import dagster as dg

from orchestrator_assets.materialization import spending
from orchestrator_resources.execution_batches import BatchFailed
from orchestrator_runtimes.errors import AgentError

_MAY_PASS: Final = "materialize it again: what was answered or finished is not repeated"
_STAYS: Final = (
    "the same again ends the same: change what the message names; what was answered or finished is kept"
)
_SHOWN: Final = 10
"""Most facts that are shown one by one."""


HIDDEN: Final = "something went wrong; what it was may quote marked fields, and stands sealed in the metadata"


def failure(error: AgentError, sealed: str | None = None) -> dg.Failure:
    """Return what Dagster shows of an error: what to do, and where executions ran, what they spent before it.

    Args:
        error: What went wrong.
        sealed: What takes the place of all that the error says; None shows it.
    """
    code = error.code
    metadata: dict[str, Any] = {
        "code": code.value,
        "retryable": code.retryable,
        "next": _MAY_PASS if code.retryable else _STAYS,
    }
    if sealed is not None:
        metadata["error"] = sealed
    elif error.cause:
        metadata["cause"] = error.cause
    detail = error.detail if sealed is None else {}
    plain = all(isinstance(value, (str, int, float)) for value in detail.values())
    if plain and len(detail) <= _SHOWN:  # in sight: JSON would be behind a click
        metadata = {**detail, **metadata}
    else:
        metadata["detail"] = dg.MetadataValue.json(detail)
    if isinstance(error, BatchFailed):
        # rows are of this try and of what ended in it; the gateway counts every try, and what was cut off, too
        metadata |= spending(error.rows, error.spent)
        if error.spent is not None:
            metadata["tokens_spent"] = sum(amount.tokens for amount in error.spent.executions.values())
    order = ("code", "retryable", "next", "cause")
    shown = {name: metadata[name] for name in (*order, *metadata) if name in metadata}
    text = str(error) if sealed is None else f"{code}: {HIDDEN}"
    return dg.Failure(text, metadata=shown, allow_retries=False)
