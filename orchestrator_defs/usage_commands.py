"""`orchestrator usage`: what was used in a month, and telling publishers of it by a marketplace."""

import asyncio
import contextlib
import csv
import io
import json
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator_defs.text_tables import text_table

if TYPE_CHECKING:
    from orchestrator_gateway.ledger import Ledger
    from orchestrator_marketplace.marketplaces import Marketplace
    from orchestrator_resources.usage_months import By, Used

T = TypeVar("T")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_JOURNAL = click.option(
    "--journal", required=True, help="Path of the journal's file, or URL of its database."
)
_MONTH = click.option("--month", help="Such as 2026-11, of UTC; the one that goes on if missing.")
_AT = click.option(
    "--at", "url", required=True, envvar="ORCHESTRATOR_MARKETPLACE", show_envvar=True, help="Marketplace."
)
_COUNTS = ("calls", "tokens", "cost_usd", "seconds", "unpriced_calls", "estimated_calls")


@click.group()
def usage() -> None:
    """Usage: show and export what was used in a month; send it to publishers; see what platforms sent."""


@usage.command()
@_JOURNAL
@_MONTH
@click.option("--tenant", help="Whose; all if missing.")
@click.option(
    "--by",
    type=click.Choice(["execution", "version", "agent", "publisher", "tenant"]),
    default="version",
    show_default=True,
    help="What a row is.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
def show(journal: str, month: str | None, tenant: str | None, by: "By", form: str) -> None:
    """Print what was used in a month, a tenant's own agents as `-`; the sums are the ledger's, to the token."""
    from orchestrator_resources.usage_months import month_of, used_in

    asked = month_of(month)
    rows = _with_ledger(journal, lambda ledger: used_in(ledger, asked, by=by, tenant=tenant))
    told = [_told(row) for row in rows]
    head: list[str] = ["tenant", "name", "executions", *_COUNTS]
    if form == "json":
        click.echo(
            json.dumps({"month": asked.name, "through": asked.through, "by": by, "used": told}, indent=1)
        )
    elif form == "csv":
        written = io.StringIO()
        table = csv.DictWriter(written, head, lineterminator="\n")
        table.writeheader()
        table.writerows(told)
        click.echo(written.getvalue(), nl=False)
    else:
        click.echo(text_table([head, *([_shown(row[key]) for key in head] for row in told)]))


@usage.command()
@_JOURNAL
@_MONTH
@_AT
@click.option("--platform", required=True, help="Who reports, as the marketplace registered it.")
@click.option("--key", "file", required=True, type=_FILE, help="Private key of the platform, PEM.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
def send(journal: str, month: str | None, url: str, platform: str, file: Path, *, dry_run: bool) -> None:
    """Send each publisher what was used of theirs in a month; again, it changes nothing, or corrects what was sent.

    Counts alone leave: no name of a tenant, run, asset or person, no input and no output.
    """
    from orchestrator_marketplace.signing_keys import load_private_key
    from orchestrator_marketplace.submissions import marketplace_name
    from orchestrator_marketplace.usage_sending import send_report
    from orchestrator_resources.usage_months import month_of, usage_reports
    from orchestrator_runtimes.codec import encode

    asked, key = month_of(month), load_private_key(file)
    reports = _with_ledger(
        journal,
        lambda ledger: usage_reports(ledger, asked, marketplace=marketplace_name(url), platform=platform),
    )
    if dry_run:
        click.echo(json.dumps([encode(report) for report in reports], indent=1))
        return
    with _marketplace(url) as marketplace:
        for report in reports:
            receipt = send_report(marketplace, report, key)
            how = "is sent" if receipt.taken else "was sent before"
            click.echo(f"{report.publisher} {report.month}: {how}, number {receipt.sequence}")
    if not reports:
        click.echo(f"{asked.name}: no published agent was used")


@usage.command()
@click.argument("publisher")
@_MONTH
@_AT
@click.option("--key", "file", required=True, type=_FILE, help="Private key of the publisher, PEM.")
def received(publisher: str, month: str | None, url: str, file: Path) -> None:
    """Print what platforms reported of PUBLISHER's agents in a month, one JSON object a platform."""
    from orchestrator_marketplace.actions import moment
    from orchestrator_marketplace.signing_keys import load_private_key
    from orchestrator_marketplace.submissions import marketplace_name
    from orchestrator_marketplace.usage_envelopes import seal_question
    from orchestrator_marketplace.usage_reports import UsageQuestion
    from orchestrator_resources.usage_months import month_of
    from orchestrator_runtimes.codec import encode

    asked, key, after = month_of(month).name, load_private_key(file), None
    with _marketplace(url) as marketplace:
        while True:
            try:
                question = UsageQuestion(
                    marketplace=marketplace_name(url),
                    at=moment(datetime.now(UTC)),
                    publisher=publisher,
                    month=asked,
                    after=after,
                )
            except ValueError as error:
                raise click.ClickException(str(error)) from error
            page = marketplace.usage(seal_question(question, key))
            for report in page.reports:
                click.echo(json.dumps(encode(report)))
            after = page.after
            if after is None:
                return


def _with_ledger(journal: str, work: "Callable[[Ledger], Coroutine[Any, Any, T]]") -> T:
    # the gateway is slow to import, and few commands need it
    from orchestrator_gateway.journal import JournalUnavailable
    from orchestrator_gateway.stores import is_postgres, open_store

    if not is_postgres(journal) and not Path(journal).is_file():
        raise click.ClickException(f"there is no file {journal!r}: name the journal of a gateway")

    async def done() -> T:
        store = await open_store(journal)
        try:
            return await work(store.ledger)
        finally:
            await store.close()

    try:
        return asyncio.run(done())
    except JournalUnavailable as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _marketplace(url: str) -> "Generator[Marketplace]":
    from orchestrator_marketplace.marketplace_client import HttpMarketplace

    with contextlib.closing(HttpMarketplace(url)) as client:
        yield client


def _told(row: "Used") -> dict[str, Any]:
    from orchestrator_gateway.spending_reports import told

    return {"tenant": row.tenant, "name": row.name, "executions": row.executions, **told(row.amount)}


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
