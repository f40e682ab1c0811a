"""`orchestrator approvals`: what agents ask people, and deciding about it."""

import contextlib
import getpass
import json
import os
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

import click

from orchestrator_defs.text_tables import text_table
from orchestrator_resources.approvals import Approvals, Request, Verdict, read_answer
from orchestrator_resources.sealed_texts import KEYS_FILE
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

_QUESTION = 60

SEALED: Final = f"sealed: set {KEYS_FILE} to the file of the tenant's keys to read it"


@contextlib.contextmanager
def opened() -> Generator[Approvals]:
    """Open the approvals of the Dagster instance of DAGSTER_HOME.

    Raises:
        AgentError: `invalid_input` when there is none.
    """
    import dagster as dg

    from orchestrator_resources.instance_state import open_instance_state

    if not os.environ.get("DAGSTER_HOME"):
        raise AgentError(
            ErrorCode.INVALID_INPUT, "set DAGSTER_HOME to the folder of the instance whose runs wait"
        )
    with dg.DagsterInstance.get() as instance, open_instance_state(instance) as state:
        yield state.approvals


def as_row(request: Request) -> dict[str, Any]:
    """Return a request as JSON for programs."""
    decision = request.decision
    return {
        "approval": request.id,
        "status": decision.verdict if decision else "waiting",
        "asset": request.asker.asset,
        "partition": request.asker.partition,
        "item": request.asker.item,
        "run": request.asker.run,
        "kind": request.kind,
        "question": SEALED if request.sealed else request.question,
        "asked": _time(request.asked),
        "until": _time(request.expires),
        "by": decision and decision.by,
        "reason": decision and decision.reason,
        "answer": decision and decision.answer,
        "decided": decision and _time(decision.at),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@click.group()
def approvals() -> None:
    """Approvals: list what agents ask, show it, approve or reject it.

    An agent asks when it calls a tool that is marked `approval`, or by its framework's own interrupt. Its asset then
    has no value yet, and no process waits. Once everything is decided that its run asked, the sensor `approvals` goes
    on with it; without the sensor, materialize the asset again. Works on the instance of DAGSTER_HOME.
    ORCHESTRATOR_TENANT_KEYS_FILE names a file of a tenant's keys, for what is sealed by them.
    """


@approvals.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what was decided, with who decided it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with questions in full.")
def list_approvals(*, everything: bool, as_json: bool) -> None:
    """List the requests that wait for a decision."""
    with opened() as store:
        rows = [as_row(request) for request in store.list(waiting=not everything)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("nothing waits for a decision")
        return
    head = ["approval", "status", "asset", "item", "question", "until"]
    lines = [
        [row["approval"], row["status"], row["asset"], row["item"], _short(row["question"]), row["until"]]
        for row in rows
    ]
    click.echo(text_table([head, *lines]))


def _short(question: Json) -> str:
    text = json.dumps(question)
    return text if len(text) <= _QUESTION else f"{text[:_QUESTION]}…"


@approvals.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, *, as_json: bool) -> None:
    """Show one request in full: NAME is its id, four or more characters of it, or an asset of which one waits."""
    with opened() as store:
        row = as_row(store.find(name))
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return
    question = json.dumps(row.pop("question"), indent=2)
    click.echo(text_table([[key, str(value)] for key, value in row.items() if value is not None]))
    click.echo(question)


@approvals.command()
@click.argument("name")
@click.option("--reason", help="Why, for the record.")
@click.option(
    "--answer", help="JSON that a framework's own interrupt returns; tools take none.", metavar="JSON"
)
@click.option("--by", help="Who decides, for the record; default: the user of this machine.")
def approve(name: str, reason: str | None, answer: str | None, by: str | None) -> None:
    """Let the agent do what it asks: NAME is an id, four or more characters of it, or an asset of which one waits.

    A decision stands: the same one again changes nothing, and another one is refused.
    """
    _decide(name, "approved", reason, answer, by)


@approvals.command()
@click.argument("name")
@click.option("--reason", help="Why; the agent is told, and goes on without.")
@click.option("--by", help="Who decides, for the record; default: the user of this machine.")
def reject(name: str, reason: str | None, by: str | None) -> None:
    """Refuse what the agent asks; it is told and goes on. NAME as for approve.

    A decision stands: the same one again changes nothing, and another one is refused.
    """
    _decide(name, "rejected", reason, None, by)


def _decide(name: str, verdict: Verdict, reason: str | None, answer: str | None, by: str | None) -> None:
    given = read_answer(answer)
    with opened() as store:
        request = store.decide(name, verdict, by=by or getpass.getuser(), reason=reason, answer=given)
        left = sum(other.decision is None for other in store.of_run(request.asker.run))
    more = f"its run waits for {left} more" if left else "nothing of its run waits any more"
    click.echo(f"{request.id} of {request.asker.asset} is {verdict}; {more}")
