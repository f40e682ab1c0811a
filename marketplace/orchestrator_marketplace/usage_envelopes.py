"""Usage reports and questions as they are sent: DSSE envelopes, each of a payload type of its own, as actions are."""

from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.envelopes import Envelope, open_envelope, seal
from orchestrator_marketplace.marketplaces import MarketplaceError, Problem
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.usage_reports import UsageQuestion, UsageReport
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

T = TypeVar("T")

REPORT_TYPE: Final = "application/vnd.agent-orchestrator.usage-report.v1+json"
QUESTION_TYPE: Final = "application/vnd.agent-orchestrator.usage-question.v1+json"
ENVELOPE_BYTES: Final = 1 * 2**20


def seal_report(report: UsageReport, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a report as a platform sends it."""
    return seal(dump(encode(report)), key, kind=REPORT_TYPE)


def open_report(content: bytes) -> tuple[UsageReport, Envelope]:
    """Return a report, and the envelope that says by whom it is.

    Raises:
        MarketplaceError: `malformed`.
    """
    return _open(UsageReport, content, REPORT_TYPE, "usage report")


def seal_question(question: UsageQuestion, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a question as a publisher sends it."""
    return seal(dump(encode(question)), key, kind=QUESTION_TYPE)


def open_question(content: bytes) -> tuple[UsageQuestion, Envelope]:
    """Return a question, and the envelope that says by whom it is.

    Raises:
        MarketplaceError: `malformed`.
    """
    return _open(UsageQuestion, content, QUESTION_TYPE, "question for usage")


def _open(kind: type[T], content: bytes, sealed_as: str, what: str) -> tuple[T, Envelope]:
    if len(content) > ENVELOPE_BYTES:
        raise MarketplaceError(Problem.MALFORMED, f"a {what} is at most {ENVELOPE_BYTES} bytes")
    try:
        envelope = open_envelope(content, sealed_as)
        return decode(kind, parse(envelope.payload), what, strict=True), envelope
    except BundleRefused as error:
        raise MarketplaceError(Problem.MALFORMED, f"no signed {what}", cause=error.cause) from error
    except (NotJson, InvalidMessage, RecursionError) as error:
        raise MarketplaceError(Problem.MALFORMED, str(error)) from error
