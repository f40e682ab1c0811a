"""Sending a month's usage until the marketplace has it; sending it again changes nothing."""

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.marketplaces import Marketplace, MarketplaceError, Problem
from orchestrator_marketplace.usage_envelopes import seal_report
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReport

_TRIES: Final = 5
"""Somebody else may send a correction between two of them."""


def send_report(
    marketplace: Marketplace, report: UsageReport, key: ec.EllipticCurvePrivateKey
) -> UsageReceipt:
    """Send what was used, as the first report or as a correction; return what counts then.

    The marketplace knows which sequence is next, so that a sender keeps nothing, and several may send.

    Args:
        marketplace: Where to.
        report: Its sequence is of no account.
        key: Of the platform.

    Raises:
        MarketplaceError: Whatever the marketplace refuses; `conflict` when others go on correcting it.
    """
    digest, sequence = report.digest(), 1
    for _ in range(_TRIES):
        receipt = marketplace.report_usage(seal_report(replace(report, sequence=sequence), key))
        if receipt.digest == digest:
            return receipt
        sequence = receipt.sequence + 1
    raise MarketplaceError(
        Problem.CONFLICT, f"others correct the report of {report.month} meanwhile: send again"
    )
