"""What every marketplace does with reports of usage; part of `suite.MarketplaceConformance`."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import WINDOW, moment, seal_action
from orchestrator_marketplace.conformance.subjects import MarketplaceTests, Subject
from orchestrator_marketplace.marketplaces import (
    MarketplaceError,
    Problem,
)
from orchestrator_marketplace.usage_envelopes import seal_question, seal_report
from orchestrator_marketplace.usage_reports import (
    UsageLine,
    UsageQuestion,
    UsageReceipt,
    UsageReport,
    UsageReports,
)
from orchestrator_marketplace.usage_sending import send_report

LAST_YEAR: Final = f"{datetime.now(UTC).year - 1}-11"


class UsageConformance(MarketplaceTests):
    """See `MarketplaceConformance`."""

    def reported(
        self,
        subject: Subject,
        who: ec.EllipticCurvePrivateKey,
        *,
        tokens: int,
        sequence: int,
        **more: Any,
    ) -> UsageReceipt:
        """Report, as alpha, that acme's reviewer used so many tokens last year."""
        line = UsageLine(agent="reviewer", version="1.0.0", tenants=2, executions=3, calls=5, tokens=tokens)
        given: dict[str, Any] = {
            "marketplace": subject.name,
            "platform": "alpha",
            "publisher": "acme",
            "month": LAST_YEAR,
            "through": f"{LAST_YEAR}-30",
            "sequence": sequence,
            "lines": (line,),
            **more,
        }
        return subject.marketplace.report_usage(seal_report(UsageReport(**given), who))

    def usage(self, subject: Subject, who: ec.EllipticCurvePrivateKey, **more: Any) -> UsageReports:
        """Ask for what was reported of acme last year."""
        given: dict[str, Any] = {
            "marketplace": subject.name,
            "at": moment(datetime.now(UTC)),
            "publisher": "acme",
            "month": LAST_YEAR,
            **more,
        }
        return subject.marketplace.usage(seal_question(UsageQuestion(**given), who))

    def test_usage_counts_once_and_corrections_take_its_place(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """However often, late or out of order reports come, the highest sequence counts."""
        alpha = ec.generate_private_key(ec.SECP256R1())
        self.register(subject, key)
        self.register(subject, alpha, "alpha")
        assert self.usage(subject, key).reports == ()
        first = self.reported(subject, alpha, tokens=10, sequence=1)
        assert first.taken and first.sequence == 1
        assert self.reported(subject, alpha, tokens=10, sequence=1) == replace(first, taken=False)
        assert self.reported(subject, alpha, tokens=99, sequence=1) == replace(first, taken=False)
        third = self.reported(subject, alpha, tokens=30, sequence=3)
        assert third.taken and third.id == first.id and third.digest != first.digest
        assert self.reported(subject, alpha, tokens=20, sequence=2) == replace(third, taken=False)
        (counts,) = self.usage(subject, key).reports
        assert [line.tokens for line in counts.lines] == [30] and counts.digest() == third.digest
        assert self.usage(subject, subject.operator).reports == (counts,)
        assert self.usage(subject, key, month="2020-01").reports == ()
        assert self.usage(subject, key, after="alpha").reports == ()
        beta = ec.generate_private_key(ec.SECP256R1())
        self.register(subject, beta, "beta")
        self.reported(subject, beta, tokens=1, sequence=1, platform="beta")
        assert [one.platform for one in self.usage(subject, key).reports] == ["alpha", "beta"]

    def test_usage_is_sent_until_it_stands(self, subject: Subject, key: ec.EllipticCurvePrivateKey) -> None:
        """A sender that keeps nothing finds the next sequence, and sends nothing twice."""
        alpha = ec.generate_private_key(ec.SECP256R1())
        self.register(subject, key)
        self.register(subject, alpha, "alpha")

        def send(tokens: int) -> UsageReceipt:
            line = UsageLine(agent="a", version="1.0.0", tenants=1, executions=1, calls=1, tokens=tokens)
            report = UsageReport(
                marketplace=subject.name, platform="alpha", publisher="acme", month=LAST_YEAR,
                through=f"{LAST_YEAR}-30", sequence=1, lines=(line,),
            )  # fmt: skip
            return send_report(subject.marketplace, report, alpha)

        sent = [send(tokens) for tokens in (1, 1, 2, 2, 1)]
        assert [(one.sequence, one.taken) for one in sent] == [
            (1, True), (1, False), (2, True), (2, False), (3, True),
        ]  # fmt: skip

    def test_who_reports_and_who_sees_is_known(
        self, subject: Subject, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """A platform reports by its own key, of a publisher that there is; nobody else's usage is seen."""
        alpha, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.register(subject, key)
        self.register(subject, alpha, "alpha")
        future = f"{datetime.now(UTC).year + 1}-01"
        for who, more, problem in (
            (stranger, {}, Problem.FORBIDDEN),
            (key, {}, Problem.FORBIDDEN),
            (subject.operator, {}, Problem.FORBIDDEN),
            (alpha, {"platform": "nobody"}, Problem.FORBIDDEN),
            (alpha, {"publisher": "nobody"}, Problem.NOT_FOUND),
            (alpha, {"marketplace": "elsewhere"}, Problem.MALFORMED),
            (alpha, {"month": future, "through": f"{future}-01"}, Problem.MALFORMED),
        ):
            with pytest.raises(MarketplaceError) as refused:
                self.reported(subject, who, tokens=1, sequence=1, **more)
            assert refused.value.problem is problem
        old = moment(datetime.now(UTC) - 2 * WINDOW)
        for who, more, problem in (
            (alpha, {}, Problem.FORBIDDEN),
            (stranger, {}, Problem.FORBIDDEN),
            (key, {"publisher": "alpha"}, Problem.FORBIDDEN),
            (key, {"marketplace": "elsewhere"}, Problem.MALFORMED),
            (key, {"at": old}, Problem.MALFORMED),
        ):
            with pytest.raises(MarketplaceError) as refused:
                self.usage(subject, who, **more)
            assert refused.value.problem is problem
        for content in (b"", b"{}", seal_action(self.action(subject, "add_key", key="none"), alpha)):
            for send in (subject.marketplace.report_usage, subject.marketplace.usage):
                with pytest.raises(MarketplaceError) as refused:
                    send(content)
                assert refused.value.problem is Problem.MALFORMED
        assert self.usage(subject, key).reports == ()
