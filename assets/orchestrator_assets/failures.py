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


def failure(error: AgentError) -> dg.Failure:
    """Return what Dagster shows of an error: what to do, and where executions ran, what they spent before it."""
    code = error.code
    metadata: dict[str, Any] = {
        "code": code.value,
        "retryable": code.retryable,
        "next": _MAY_PASS if code.retryable else _STAYS,
    }
    if error.cause:
        metadata["cause"] = error.cause
    plain = all(isinstance(value, (str, int, float)) for value in error.detail.values())
    if plain and len(error.detail) <= _SHOWN:  # in sight: JSON would be behind a click
        metadata = {**error.detail, **metadata}
    else:
        metadata["detail"] = dg.MetadataValue.json(error.detail)
    if isinstance(error, BatchFailed):
        # rows are of this try and of what ended in it; the gateway counts every try, and what was cut off, too
        metadata |= spending(error.rows, error.spent)
        if error.spent is not None:
            metadata["tokens_spent"] = sum(amount.tokens for amount in error.spent.executions.values())
    order = ("code", "retryable", "next", "cause")
    shown = {name: metadata[name] for name in (*order, *metadata) if name in metadata}
    return dg.Failure(str(error), metadata=shown, allow_retries=False)
