"""Costs are exact sums of a table's prices; what has no price has no cost."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.prices import Price, PriceTable, dollars_text, load_prices, nanodollars
from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_runtimes.messages import Usage

prices = st.decimals(0, 1_000, places=6).map(float)
counts = st.integers(0, 20_000_000)


@given(price=st.builds(Price, input=prices, output=prices, cached_input=st.none() | prices), data=st.data())
def test_a_cost_is_the_exact_sum_rounded_up(price: Price, data: st.DataObject) -> None:
    usage = Usage(
        input_tokens=data.draw(counts), output_tokens=data.draw(counts), cached_tokens=data.draw(counts)
    )
    cached = min(usage.cached_tokens, usage.input_tokens)
    of_cached = price.input if price.cached_input is None else price.cached_input
    dollars = (
        (usage.input_tokens - cached) * Decimal(repr(price.input))
        + cached * Decimal(repr(of_cached))
        + usage.output_tokens * Decimal(repr(price.output))
    ) / 10**6
    exact = dollars * 10**9
    assert exact <= price.of(usage) < exact + 1


@given(st.integers(0, 10**18))
def test_an_amount_as_text_is_the_amount(amount: int) -> None:
    assert Decimal(dollars_text(amount)) * 10**9 == amount


@pytest.mark.parametrize(
    ("dollars", "nano"), [(0.1, 10**8), (0.3, 3 * 10**8), (5, 5 * 10**9), (1e-9, 1), (0.0, 0)]
)
def test_dollars_count_as_they_are_written(dollars: float, nano: int) -> None:
    assert nanodollars(dollars) == nano


TABLE = PriceTable(
    version="1",
    models={
        "m": Price(input=1),
        "m-2024-05-13": Price(input=2),
        "m-*": Price(input=3),
        "m-large*": Price(input=4),
        "a.c": Price(input=5),
    },
)


@pytest.mark.parametrize(
    ("model", "input_price"),
    [("m", 1), ("m-2024-05-13", 2), ("m-2025-01-01", 1), ("m-20250101", 1), ("m-small", 3), ("m-large-2", 4),
     ("a.c", 5)],
)  # fmt: skip
def test_a_name_counts_before_a_pattern_and_the_longer_pattern_first(model: str, input_price: float) -> None:
    price = TABLE.price(model)
    assert price is not None and price.input == input_price


@pytest.mark.parametrize("model", ["", "M", "abc", "n", "xm", "m-" + "x" * 1_000, "m\n"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert TABLE.price(model) is None


def test_the_table_of_the_package_knows_the_embedded_model_and_says_where_it_is_from() -> None:
    table = load_prices()
    embedded, small = table.price("smollm2"), table.price("gpt-5-mini-2025-08-07")
    assert embedded is not None and embedded.of(Usage(input_tokens=10**6)) == 0
    assert small is not None and small.of(Usage(output_tokens=10**6)) == nanodollars(2)
    assert table.version and table.sources


def test_an_operators_table_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("version: '7'\nmodels: {ours: {input: 0.5, output: 1.25}}\n")
    table = load_prices(file)
    assert table.version == "7" and table.price("ours") == Price(input=0.5, output=1.25)
    assert table.price("smollm2") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {}", "version: missing"),
        ("version: '1'\nmodels: {m: {input: -1}}", "models.m: input must be 0 to 100000 dollars"),
        ("version: '1'\nmodels: {m: {input: .nan}}", "models.m: input must be"),
        ("version: '1'\nmodels: {m: {input: 0.0000001}}", "models.m: input must have six decimals at most"),
        ("version: '1'\nmodels: {m: {input: x}}", "models.m.input: expected a number"),
        ("version: '1'\nmodels: {m: {input: 1, putput: 1}}", "unknown key 'putput'; did you mean 'output'?"),
    ],
)
def test_a_wrong_table_is_one_line_that_says_what_to_change(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(BadConfiguration) as caught:
        load_prices(file)
    assert words in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)
