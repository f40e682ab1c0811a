"""What an agent costs whoever runs it, and how much is paid at most; it is said and bounded here, and not billed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from orchestrator_runtimes.codec import InvalidMessage, decode
from orchestrator_runtimes.json_values import Json

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?")
_PER: Final = ("call", "execution", "month")


@dataclass(frozen=True, kw_only=True)
class Pricing:
    """What is paid for an agent, or the most that somebody pays: amounts as decimal text, such as `0.05`.

    Attributes:
        currency: As ISO 4217 has it, such as `EUR`.
        per_call: For each model call; None costs nothing, and pays nothing.
        per_execution: For each execution; None as above.
        per_month: For each month in which a tenant runs it; None as above.
    """

    currency: str
    per_call: str | None = None
    per_execution: str | None = None
    per_month: str | None = None

    def __post_init__(self) -> None:
        """Refuse amounts that are none."""
        if _CURRENCY.fullmatch(self.currency) is None:
            raise ValueError(f"currency: {self.currency!r:.20} is no currency, such as EUR")
        for per, text in self._given():
            if _AMOUNT.fullmatch(text) is None or not Decimal(text):
                raise ValueError(
                    f"per_{per}: {text!r:.40} must be an amount above 0 in quotes, such as '0.05'"
                )
        if not any(self._given()):
            raise ValueError("say per_call, per_execution or per_month; what costs nothing has no pricing")

    def _given(self) -> Iterator[tuple[str, str]]:
        for per in _PER:
            amount: str | None = getattr(self, f"per_{per}")
            if amount is not None:
                yield per, amount

    def __str__(self) -> str:
        """Return it for people: `EUR 0.05 per call and 10 per month`."""
        return f"{self.currency} " + " and ".join(f"{amount} per {per}" for per, amount in self._given())

    def is_within(self, most: "Pricing") -> bool:
        """Tell whether somebody pays this who pays so much at most."""
        allowed = dict(most._given())
        return self.currency == most.currency and all(
            per in allowed and Decimal(amount) <= Decimal(allowed[per]) for per, amount in self._given()
        )


def price_told(manifest: Mapping[str, Json]) -> str:
    """Return what a stranger's manifest says that it costs, for people; `?` when that is nothing known here."""
    told = manifest.get("pricing")
    if told is None:
        return "free"
    try:
        return str(decode(Pricing, told))
    except InvalidMessage:
        return "?"
