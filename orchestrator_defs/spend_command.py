"""`orchestrator spend`: what agents, code locations and a tenant spent, from the ledger in the journal's database."""

import asyncio
from pathlib import Path

import click

from orchestrator_defs.text_tables import text_table


@click.command()
@click.option("--journal", required=True, help="Path of the journal's file, or URL of its database.")
@click.option("--tenant", default="local", show_default=True, help="Whose spending.")
@click.option("--since", help="First day of UTC, such as 2026-11-01; the first of this month if missing.")
@click.option("--until", help="Last day; today if missing.")
def spend(journal: str, tenant: str, since: str | None, until: str | None) -> None:
    """Print what was spent, a line for each day and agent, code location or tenant."""
    # the gateway is slow to import, and few commands need it
    from orchestrator_gateway.journal import JournalUnavailable
    from orchestrator_gateway.prices import dollars_text
    from orchestrator_gateway.spending_reports import WrongQuestion, days_asked
    from orchestrator_gateway.stores import is_postgres, open_store

    if not is_postgres(journal) and not Path(journal).is_file():
        raise click.ClickException(f"there is no file {journal!r}: name the journal of a gateway")

    async def rows() -> list[list[str]]:
        first, last = days_asked(since, until)
        store = await open_store(journal)
        try:
            spent = await store.ledger.days(tenant, first, last)
        finally:
            await store.close()
        return [
            [
                row.day,
                row.account.kind,
                row.account.name or "-",
                str(row.amount.calls),
                str(row.amount.tokens),
                dollars_text(row.amount.cost),
                str(row.amount.unpriced_calls),
            ]
            for row in spent
        ]

    try:
        found = asyncio.run(rows())
    except (JournalUnavailable, WrongQuestion) as error:
        raise click.ClickException(str(error)) from error
    head = ["day", "scope", "name", "calls", "tokens", "USD", "calls without a price"]
    click.echo(text_table([head, *found]))
