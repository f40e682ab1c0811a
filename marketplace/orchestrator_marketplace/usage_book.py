"""The usage reports that the reference marketplace keeps: every one that was taken, as it was signed."""

from orchestrator_marketplace.catalogue_databases import Transaction
from orchestrator_marketplace.marketplaces import MOST_AT_ONCE
from orchestrator_marketplace.usage_envelopes import open_report
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReport, UsageReports


def take_report(transaction: Transaction, report: UsageReport, envelope: bytes) -> UsageReceipt:
    """Keep a report where it is the first, or a correction; return which one counts then.

    What comes late or twice changes nothing.
    """
    head = transaction.execute(
        "SELECT sequence, digest FROM usage_reports WHERE id = ? ORDER BY sequence DESC LIMIT 1", (report.id,)
    ).fetchone()
    if head is not None and report.sequence <= head[0]:
        return UsageReceipt(id=report.id, sequence=head[0], digest=head[1], taken=False)
    digest = report.digest()
    transaction.execute(
        "INSERT INTO usage_reports (id, sequence, publisher, month, platform, digest, envelope)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (report.id, report.sequence, report.publisher, report.month, report.platform, digest, envelope),
    )
    return UsageReceipt(id=report.id, sequence=report.sequence, digest=digest, taken=True)


def reports_of(transaction: Transaction, publisher: str, month: str, after: str | None) -> UsageReports:
    """Return a page of the reports about a publisher in a month that count, one of each platform, by its name."""
    rows = transaction.execute(
        "SELECT platform, envelope FROM usage_reports AS one WHERE publisher = ? AND month = ? AND platform > ?"
        " AND sequence = (SELECT max(sequence) FROM usage_reports WHERE id = one.id) ORDER BY platform LIMIT ?",
        (publisher, month, after or "", MOST_AT_ONCE + 1),
    ).fetchall()
    page = rows[:MOST_AT_ONCE]
    found = tuple(open_report(bytes(envelope))[0] for _, envelope in page)
    return UsageReports(reports=found, after=page[-1][0] if len(rows) > len(page) else None)
