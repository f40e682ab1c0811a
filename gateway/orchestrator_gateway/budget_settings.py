"""The budgets of a gateway, as its operator writes them down."""

from dataclasses import dataclass
from typing import Final, Literal

EVERY: Final = "*"
"""As a budget's name: each one of its scope has a budget of this size."""

_MOST: Final = {"tokens": 10**15, "cost_usd": 10**9, "calls": 10**12}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an agent, a code location or a tenant may spend in a day or a month of UTC; None bounds nothing.

    Attributes:
        scope: Whose spending is counted.
        name: Of the agent (its asset's key), the code location or the tenant; `*` gives each of them a budget of this
            size.
        tokens: Input and output together.
        cost_usd: In US dollars. Models without a price are refused where a cost is bounded.
        calls: Model calls that an upstream answers.
        per: When it is renewed.
    """

    scope: Literal["agent", "location", "tenant"]
    name: str = EVERY
    tokens: int | None = None
    cost_usd: float | None = None
    calls: int | None = None
    per: Literal["day", "month"] = "day"

    def __post_init__(self) -> None:
        """Refuse a budget that bounds nothing or is none."""
        bounds = {"tokens": self.tokens, "cost_usd": self.cost_usd, "calls": self.calls}
        if all(value is None for value in bounds.values()):
            raise ValueError("a budget needs tokens, cost_usd or calls")
        for name, value in bounds.items():
            if value is not None and not 0 <= value <= _MOST[name]:
                raise ValueError(f"{name} must be 0 to {_MOST[name]}, not {value}")
        if not self.name:
            raise ValueError(f"name must be that of the {self.scope}, or {EVERY!r} for each")
