"""What model calls cost: a versioned table of prices, and exact sums.

Amounts of money are whole nano-dollars (10⁻⁹ USD), so sums are exact; a call's cost is rounded up to the next one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Final

from orchestrator_gateway.settings_files import read_settings
from orchestrator_runtimes.messages import Usage

NANO: Final = 10**9
"""Nano-dollars of a dollar."""

_PICO_OF_PRICE: Final = 10**6
"""Pico-dollars for one token, of a dollar for a million tokens: prices have six decimals at most."""

_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
_NAME_CHARACTERS: Final = 200
_DEAREST: Final = 100_000.0
_SHIPPED: Final = Path(__file__).with_name("prices.yaml")


def nanodollars(dollars: float) -> int:
    """Return an amount of dollars in nano-dollars; a float counts as the decimal that it is written as."""
    return int((Decimal(repr(dollars)) * NANO).to_integral_value())


def dollars_text(nanodollars: int) -> str:
    """Return an amount as text in dollars, exact and without zeros at its end, such as `0.0125`."""
    text = f"{Decimal(nanodollars) / NANO:.9f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one model costs, in US dollars for a million tokens.

    Attributes:
        input: Of the request.
        output: Of the answer, its reasoning included.
        cached_input: Of the part of the request that the provider had in its cache; None costs as `input` does.
    """

    input: float
    output: float = 0.0
    cached_input: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no price, and more decimals than are counted."""
        for name in ("input", "output", "cached_input"):
            value = getattr(self, name)
            if value is None:
                continue
            if not 0 <= value <= _DEAREST:
                raise ValueError(
                    f"{name} must be 0 to {_DEAREST:.0f} dollars for a million tokens, not {value}"
                )
            if (Decimal(repr(value)) * _PICO_OF_PRICE) % 1:
                raise ValueError(f"{name} must have six decimals at most, not {value}")

    def of(self, usage: Usage) -> int:
        """Return what a call costs, in nano-dollars, rounded up."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        parts = (
            (usage.input_tokens - cached, self.input),
            (cached, self.input if self.cached_input is None else self.cached_input),
            (usage.output_tokens, self.output),
        )
        pico = sum(tokens * int(Decimal(repr(price)) * _PICO_OF_PRICE) for tokens, price in parts)
        return -(-pico // 1000)


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """Prices by the model's name, as upstreams know it.

    Attributes:
        version: When they were looked up, such as `2026-11-25`; told with every cost.
        sources: Where they are published, for people.
        models: By name. `*` stands for any characters; the name itself counts before a pattern, and of patterns the
            longest. A name that ends in a date (`-2025-08-07`, `-20250807`) is also looked up without it.
    """

    version: str
    sources: tuple[str, ...] = ()
    models: Mapping[str, Price] = field(default_factory=dict[str, Price])

    def price(self, model: str) -> Price | None:
        """Return a model's price; None when it is unknown."""
        if len(model) > _NAME_CHARACTERS:
            return None
        names = dict.fromkeys((model, _DATED.sub("", model)))
        exact = (self.models[name] for name in names if name in self.models)
        patterns = (price for pattern, price in self._patterns if any(map(pattern.fullmatch, names)))
        return next(exact, None) or next(patterns, None)

    @cached_property
    def _patterns(self) -> Sequence[tuple["re.Pattern[str]", Price]]:
        longest_first = sorted((name for name in self.models if "*" in name), key=len, reverse=True)
        return [
            (re.compile(".*".join(map(re.escape, re.split(r"\*+", name)))), self.models[name])
            for name in longest_first
        ]


def load_prices(file: Path | None = None) -> PriceTable:
    """Read a table of prices.

    Args:
        file: YAML with the attributes of `PriceTable`; None reads the one that comes with this package.

    Raises:
        BadConfiguration: It cannot be read, or something in it is wrong.
    """
    return read_settings(PriceTable, _SHIPPED if file is None else file)
