"""What tenants may use of a gateway, as its operator writes it down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator_gateway.refusals import Refused, refusal


@dataclass(frozen=True, kw_only=True)
class TenantSettings:
    """What one tenant may use.

    Attributes:
        models: Names that its agents may ask for, as they ask for them; None allows all.
        executions: That may have model calls on their way at once, at one gateway; further calls wait. None sets no
            limit.
    """

    models: tuple[str, ...] | None = None
    executions: int | None = None

    def __post_init__(self) -> None:
        """Refuse a number that is none of executions."""
        if self.executions is not None and self.executions < 0:
            raise ValueError(f"executions must be 0 or more, not {self.executions}")


def check_model(tenants: Mapping[str, TenantSettings], tenant: str, model: str | None) -> None:
    """Pass a call whose tenant may ask for its model; of a tenant that is not named, any.

    Args:
        tenants: What is said of tenants, by name.
        tenant: Whose call it is.
        model: That it names; None when it names none.

    Raises:
        Refused: It may not.
    """
    allowed = allowed_models(tenants, tenant)
    if allowed is not None and model not in allowed:
        raise _not_allowed(tenant, model, allowed)


def allowed_models(tenants: Mapping[str, TenantSettings], tenant: str) -> Sequence[str] | None:
    """Return the names that a tenant may ask for; None where it may ask for all."""
    settings = tenants.get(tenant)
    return None if settings is None else settings.models


def _not_allowed(tenant: str, model: str | None, allowed: Sequence[str]) -> Refused:
    asked = "a model without a name" if model is None else f"the model {model!r:.80}"
    return refusal(
        403,
        f"the tenant {tenant!r:.80} may not use {asked}; it may use {', '.join(allowed) or 'none'}: ask the operator",
        kind="invalid_request_error",
        code="model_not_allowed",
    )
