"""What an asset's executions cost, as the gateway counted: in the metadata of its materialization."""

from typing import Any

from orchestrator_gateway.ledger import Amount, SpentByExecutions
from orchestrator_gateway.prices import NANO, dollars_text


def cost_metadata(spent: SpentByExecutions | None) -> dict[str, Any]:
    """Return the cost in words, and as a number where it is known.

    Args:
        spent: By all executions, each with all its tries; None when no gateway told it.
    """
    if spent is None:
        return {"cost": "unknown: no gateway counted it"}
    whole = sum(spent.executions.values(), Amount())
    told: dict[str, Any] = {"estimated_calls": whole.estimated_calls} if whole.estimated_calls else {}
    if whole.unpriced_calls:
        of = f"{whole.unpriced_calls} of {whole.calls} calls were of models that have no price in table {spent.prices}"
        if not whole.cost:
            return {"cost": f"unknown: {of}", **told}
        return {"cost": f"at least {dollars_text(whole.cost)} USD: {of}", **told}
    return {
        "cost": f"{dollars_text(whole.cost)} USD, by table {spent.prices}",
        "cost_usd": whole.cost / NANO,
        **told,
    }
