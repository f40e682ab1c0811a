"""Prices: which are none, how people read them, and what a stranger's manifest may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.pricing import Pricing, price_told

AMOUNT = st.decimals("0.000001", "999999999", places=6).map(lambda amount: f"{amount:f}")


@given(AMOUNT, AMOUNT)
def test_what_is_within_is_within_what_is_more(one: str, other: str) -> None:
    less, more = sorted((one, other), key=float)
    cheap, dear = (Pricing(currency="EUR", per_call=amount) for amount in (less, more))
    assert cheap.is_within(dear) and cheap.is_within(cheap)
    assert dear.is_within(cheap) == (float(one) == float(other))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"currency": "euro", "per_call": "1"}, "is no currency"),
        ({"currency": "EUR"}, "say per_call"),
        *(({"currency": "EUR", "per_call": text}, "must be an amount") for text in
          ("", "0", "0.0", "-1", "1e3", "01", "1.", ".5", "NaN", "1,5", "٣", "1.0000000")),
    ],
)  # fmt: skip
def test_prices_that_are_none(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pricing(**given)


def test_prices_are_told_to_people() -> None:
    told = {"currency": "EUR", "per_call": "0.05", "per_month": "10"}
    assert price_told({"pricing": told}) == "EUR 0.05 per call and 10 per month"
    assert price_told({}) == "free"
    assert price_told({"pricing": "\x1b[31m"}) == price_told({"pricing": {"currency": "\x1b["}}) == "?"
