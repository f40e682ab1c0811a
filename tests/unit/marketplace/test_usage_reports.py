"""Reports hold counts and nothing else, and what is none is refused with a word."""

from dataclasses import fields, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.marketplaces import MarketplaceError
from orchestrator_marketplace.usage_envelopes import ENVELOPE_BYTES, open_report, seal_report
from orchestrator_marketplace.usage_reports import MOST_LINES, UsageLine, UsageQuestion, UsageReport

LINE = UsageLine(agent="reviewer", version="1.0.0", tenants=2, executions=3, calls=4, tokens=5)
REPORT = UsageReport(
    marketplace="agents.example", platform="alpha", publisher="acme", month="2026-11", through="2026-11-30",
    sequence=1, lines=(LINE,),
)  # fmt: skip
KEY = ec.generate_private_key(ec.SECP256R1())


def test_what_leaves_a_platform_is_this() -> None:
    """A further field is a decision that somebody has to make."""
    assert {field.name for field in fields(UsageLine)} == {
        "agent", "version", "tenants", "executions", "calls", "tokens", "cost_nanodollars", "milliseconds",
        "unpriced_calls", "estimated_calls",
    }  # fmt: skip
    assert {field.name for field in fields(UsageReport)} == {
        "marketplace", "platform", "publisher", "month", "through", "sequence", "lines",
    }  # fmt: skip


@given(st.integers(0, 2**62 - 1), st.integers(1, 1_000), st.sampled_from(["1.0.0", "1.0.1a1", "20.1.3"]))
def test_a_report_is_read_as_it_was_signed(tokens: int, sequence: int, version: str) -> None:
    report = replace(
        REPORT,
        sequence=sequence,
        lines=(replace(LINE, tokens=tokens), replace(LINE, agent="b", version=version)),
    )
    found, envelope = open_report(seal_report(report, KEY))
    assert found == report and envelope.is_of(KEY.public_key())
    assert found.digest() == replace(report, sequence=1).digest()
    assert found.digest() != replace(report, lines=report.lines[1:]).digest()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"publisher": "A"}, "publisher: 'A' is no name"),
        ({"platform": ""}, "platform: '' is no name"),
        ({"month": "2026-13"}, "month: '2026-13' is no month"),
        ({"through": "2026-12-01"}, "through: '2026-12-01' is no day of 2026-11"),
        ({"sequence": 0}, "sequence: 1 to 1000"),
        ({"lines": (LINE, LINE)}, "lines: a version is there twice"),
        (
            {"lines": tuple(replace(LINE, agent=f"a{n}") for n in range(MOST_LINES + 1))},
            "lines: at most 1000",
        ),
    ],
)
def test_what_is_no_report_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(REPORT, **changed)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tokens": -1}, "a count is below 0"),
        ({"calls": 2**62}, "a count is below 0, or more"),
        ({"agent": "A"}, "agent: 'A' is no name"),
        ({"version": "one"}, "one"),
    ],
)
def test_what_is_no_line_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(LINE, **changed)


def test_a_question_is_of_a_publisher_and_a_month() -> None:
    for changed in ({"publisher": "A"}, {"month": "now"}):
        given = {"marketplace": "m", "at": "", "publisher": "acme", "month": "2026-11"}
        with pytest.raises(ValueError, match="is no"):
            UsageQuestion(**{**given, **changed})


def test_the_largest_report_fits_and_what_is_larger_is_not_read() -> None:
    most = 2**62 - 1
    widest = UsageLine(
        agent="a", version="1000.1000.1000", tenants=most, executions=most, calls=most, tokens=most,
        cost_nanodollars=most, milliseconds=most, unpriced_calls=most, estimated_calls=most,
    )  # fmt: skip
    lines = tuple(replace(widest, agent=f"{'a' * 30}{n}") for n in range(MOST_LINES))
    sealed = seal_report(replace(REPORT, lines=lines), KEY)
    assert open_report(sealed)[0].lines == lines
    with pytest.raises(MarketplaceError, match="a usage report is at most"):
        open_report(b" " * (ENVELOPE_BYTES + 1))
