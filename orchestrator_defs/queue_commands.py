"""`orchestrator queue` and `orchestrator daemon`: which runs wait and why, and what starts them."""

import json
import os
import time
from datetime import UTC, datetime
from typing import Any, Final

import click
from dagster_shared.cli import WorkspaceOpts, workspace_options

from orchestrator_defs.text_tables import text_table
from orchestrator_runtimes.errors import AgentError, ErrorCode

_SHOWN: Final = 20
"""Runs of a table, unless more are asked for."""


def _instance_is_named() -> None:
    if not os.environ.get("DAGSTER_HOME"):
        raise AgentError(
            ErrorCode.INVALID_INPUT, "set DAGSTER_HOME to the folder of the instance whose runs wait"
        )


def queue_now() -> dict[str, Any]:
    """Return what waits and runs on the instance of DAGSTER_HOME, for programs.

    Raises:
        AgentError: `invalid_input` when there is no such instance, or it has no fair queue.
    """
    import dagster as dg

    from orchestrator_tenancy.queue.seam_daemon import NoFairQueue, look
    from orchestrator_tenancy.queue.seam_runs import QueueReader

    _instance_is_named()
    with dg.DagsterInstance.get() as instance:
        try:
            _, situation, decision = look(instance, QueueReader(instance), time.time())
        except NoFairQueue as error:
            raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error
    starts = {run.id for run in decision.starts}
    flows = sorted(
        {*situation.waiting, *(run.flow for run in situation.started if run.end is None)},
    )
    going = [run for run in situation.started if run.end is None]
    return {
        "runs": {"going": len(going), "most": situation.capacity.runs},
        "gpus": {"in_use": sum(run.gpus for run in going), "most": situation.capacity.gpus},
        "flows": [
            {
                "flow": flow,
                "weight": situation.shares[flow].weight,
                "going": sum(run.flow == flow for run in going),
                "runs": situation.shares[flow].runs,
                "gpus_in_use": sum(run.gpus for run in going if run.flow == flow),
                "gpus": situation.shares[flow].gpus,
                "waiting": len(situation.waiting.get(flow, ())),
            }
            for flow in flows
        ],
        "waiting": [
            {
                "run": run.id,
                "flow": flow,
                "location": run.location,
                "place": place,
                "since": datetime.fromtimestamp(run.since, UTC).isoformat(timespec="seconds"),
                "seconds": round(situation.now - run.since, 1),
                "priority": run.priority,
                "gpus": run.gpus,
                "why": "it is about to start" if run.id in starts else decision.why(run),
            }
            for flow in flows
            for place, run in enumerate(situation.waiting.get(flow, ()), 1)
        ],
    }


@click.command()
@click.argument("run", required=False)
@click.option("--tenant", help="Only this one; a code location without tenant is `location NAME`.")
@click.option("--all", "everything", is_flag=True, help=f"All runs, not the first {_SHOWN} of each tenant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all runs.")
def queue(run: str | None, tenant: str | None, *, everything: bool, as_json: bool) -> None:
    """Show which runs wait, and why: of all tenants, of one, or of one run, by four or more characters of its id.

    Works on the instance of DAGSTER_HOME, and changes nothing.
    """
    found = queue_now()
    if tenant is not None:
        found["flows"] = [row for row in found["flows"] if row["flow"] == tenant]
        found["waiting"] = [row for row in found["waiting"] if row["flow"] == tenant]
    if run is not None:
        found["waiting"] = [row for row in found["waiting"] if len(run) >= 4 and row["run"].startswith(run)]
        if not found["waiting"]:
            raise AgentError(ErrorCode.INVALID_INPUT, f"no run that waits begins with {run!r}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if run is None:
        click.echo(_overview(found))
    shown = [row for row in found["waiting"] if everything or run is not None or row["place"] <= _SHOWN]
    if shown:
        head = ["run", "tenant", "place", "waits", "gpus", "why"]
        lines = [
            [
                row["run"][:8],
                row["flow"],
                str(row["place"]),
                f"{row['seconds']:.0f} s",
                str(row["gpus"]),
                row["why"],
            ]
            for row in shown
        ]
        click.echo("\n" * (run is None) + text_table([head, *lines]))
    if len(shown) < len(found["waiting"]):
        click.echo(f"and {len(found['waiting']) - len(shown)} more: --all shows them")


def _overview(found: dict[str, Any]) -> str:
    if not found["flows"]:
        return "nothing waits and nothing runs"
    head = ["tenant", "weight", "runs", "gpus", "waiting"]
    lines = [
        [
            row["flow"],
            str(row["weight"]),
            _of(row["going"], row["runs"]),
            _of(row["gpus_in_use"], row["gpus"]),
            str(row["waiting"]),
        ]
        for row in found["flows"]
    ]
    runs, gpus = found["runs"], found["gpus"]
    total = ["all", "", _of(runs["going"], runs["most"]), _of(gpus["in_use"], gpus["most"])]
    return text_table([head, *lines, [*total, str(sum(row["waiting"] for row in found["flows"]))]])


def _of(used: int, most: int | None) -> str:
    return str(used) if most is None else f"{used} of {most}"


@click.command()
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
)
@click.option(
    "--marketplace",
    "marketplaces",
    multiple=True,
    envvar="ORCHESTRATOR_MARKETPLACES",
    show_envvar=True,
    metavar="URL",
    help="Marketplace whose events let sensors look at once; may be given again.",
)
@workspace_options
def daemon(log_level: str, marketplaces: tuple[str, ...], **options: Any) -> None:
    """Run the daemons of the instance of DAGSTER_HOME, with its fair queue, until Ctrl-C.

    In place of `dagster-daemon run`, with the same options for code locations. Each location is a gRPC server that one
    of the tenants has (`orchestrator tenants apply`); what it tells is looked at. Sensors look every five seconds, and
    at once when a marketplace tells that something was published.
    """
    from orchestrator_tenancy.checked_locations import LocationRefused
    from orchestrator_tenancy.daemon import serve
    from orchestrator_tenancy.queue.seam_daemon import NoFairQueue

    _instance_is_named()
    for url in marketplaces:
        if not url.startswith(("https://", "http://")):
            raise AgentError(
                ErrorCode.INVALID_INPUT, f"--marketplace: {url!r:.200} is no address: write such as https://…"
            )
    try:
        serve(WorkspaceOpts.extract_from_cli_options(options), log_level, marketplaces)
    except (NoFairQueue, LocationRefused) as error:
        raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error
