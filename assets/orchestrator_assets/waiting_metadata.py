"""What the UI shows of a step that waits for people, and afterwards of what they decided."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import dagster as dg

from orchestrator_assets.markdown import fenced
from orchestrator_assets.materialization import rows_table
from orchestrator_resources.approvals import Request
from orchestrator_resources.execution_batches import Row
from orchestrator_runtimes.json_values import Json, dump

DECISION_JOB: Final = "approval_decision"
"""Name of the job that decides; its op is `decide`."""


def is_decision_job(name: str) -> bool:
    """Return whether a job is the one that decides, also by a name that begins with its tenant's."""
    return name == DECISION_JOB or name.endswith(f"__{DECISION_JOB}")


WAITS: Final = (
    "The agent asks a person, and this asset has no new value before that is decided. No process waits. After the"
    " decision the sensor of approvals goes on with it; without that sensor, materialize it again."
)

Seal: TypeAlias = Callable[[str], str]
"""From a text to one that only those read who have the key of the tenant."""

SHOWN: Final = 20
_QUESTION: Final = 400
_QUESTION_IN_FULL: Final = 10_000
_UNNAMED_REPOSITORY: Final = "__repository__"


@dataclass(frozen=True, kw_only=True)
class Launchpad:
    """Where the UI launches the job that decides: `page` is the path of its job."""

    page: str

    @classmethod
    def found(cls, context: dg.AssetExecutionContext) -> "Launchpad | None":
        """Return that of a step's code location; None when that has no such job, or the run is of none."""
        origin = context.run.remote_job_origin
        if origin is None:
            return None
        jobs = [name for name in context.repository_def.job_names if is_decision_job(name)]
        if not jobs:
            return None
        location, repository = origin.location_name, origin.repository_origin.repository_name
        place = location if repository == _UNNAMED_REPOSITORY else f"{repository}@{location}"
        return cls(page=f"/locations/{quote(place)}/jobs/{jobs[0]}")

    def link(self, request: Request, decision: str) -> str:
        """Return a link, in Markdown, to the launchpad with a decision filled in."""
        # in quotes: an id may look like a number
        config = f'ops:\n  decide:\n    config:\n      approval: "{request.id}"\n      decision: {decision}\n'
        config += '      by: ""  # your name, for the record\n      reason: ""  # the agent is told\n'
        if request.kind == "native" and decision == "approve":
            config += (
                "      # answer: '\"yes\"'  # JSON that the agent's question returns, in place of a yes\n"
            )
        return f"[{decision}]({self.page}/playground/setup?config={quote(config, safe='')})"


def told(request: Request) -> str:
    """Return a question in one line for people."""
    question: Json = request.question
    if request.kind == "tool" and isinstance(question, Mapping):
        return f"{question['tool']} with {_short(question['arguments'])}"
    return _short(question)


def _short(value: Json) -> str:
    return _cut(value if isinstance(value, str) else dump(value).decode(), _QUESTION)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def waiting_metadata(
    rows: Sequence[Row],
    requests: Sequence[Request],
    launchpad: Launchpad | None,
    seal: Seal | None = None,
) -> dict[str, Any]:
    """Return what the UI shows of a step that waits.

    Args:
        rows: Of every execution.
        requests: Those that nobody has decided, at least one.
        launchpad: Where the UI launches decisions; None shows commands alone.
        seal: Makes of questions what may stand in Dagster; None shows them.
    """
    until = _minute(min(request.expires for request in requests))
    one = len(requests) == 1
    shown: dict[str, Any] = {
        "status": f"waits for {'a decision' if one else f'{len(requests)} decisions'}; what nobody decides until"
        f" {until} counts as rejected",
    }
    if seal is not None:
        shown["question" if one else "questions"] = dg.MetadataValue.text(seal(_asked(requests)))
        rows = [_without_question(row) for row in rows]
    elif one:
        shown["question"] = dg.MetadataValue.md(_question(requests[0]))
    else:
        shown["questions"] = _table(requests)
    if launchpad is not None:
        shown["decide"] = dg.MetadataValue.md(_links(requests, launchpad))
    name = requests[0].id if one else "APPROVAL"
    commands = f"orchestrator approvals approve {name}\norchestrator approvals reject {name} --reason TEXT"
    shown["decide_by_command"] = dg.MetadataValue.md(fenced(commands))
    shown |= {
        "waiting": sum(bool(row.waiting) for row in rows),
        "failed": sum(row.error is not None for row in rows),
        "finished": sum(row.result is not None and not row.waiting for row in rows),
    }
    return shown | ({"rows": rows_table(rows)} if len(rows) > 1 else {})


def _asked(requests: Sequence[Request]) -> str:
    """Return questions as a text, each with the id that it is decided by: nothing else says which one it belongs to."""
    return "\n\n".join(f"{request.id}: {_question(request)}" for request in requests[:SHOWN])


def _without_question(row: Row) -> Row:
    """Return a row whose output is not what it waits for."""
    return replace(row, result=replace(row.result, output="…")) if row.waiting and row.result else row


def _question(request: Request) -> str:
    what = "It wants to call a tool:" if request.kind == "tool" else "It asks:"
    question = request.question
    text = question if isinstance(question, str) else json.dumps(question, indent=2, ensure_ascii=False)
    return f"{what}\n\n{fenced(_cut(text, _QUESTION_IN_FULL))}"


def _links(requests: Sequence[Request], launchpad: Launchpad) -> str:
    """Return links for each request; for one they are short enough that the UI shows them at once: 1,000 characters."""
    links = [
        ("" if len(requests) == 1 else f"`{request.id}`: ")
        + " or ".join(launchpad.link(request, decision) for decision in ("approve", "reject"))
        for request in requests[:SHOWN]
    ]
    where = f"opens the launchpad of [{DECISION_JOB}]({launchpad.page}), filled in"
    return "\n\n".join([*links, where])


def _table(requests: Sequence[Request]) -> dg.TableMetadataValue:
    names = ("approval", "item", "question", "until")
    records = [
        dg.TableRecord(
            dict(zip(names, (r.id, r.asker.item, told(r), _minute(r.expires)), strict=True))  # plain text in the UI
        )
        for r in requests[:SHOWN]
    ]  # fmt: skip
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in names]))


def decisions_metadata(requests: Sequence[Request], *, quotes: bool = True) -> dict[str, Any]:
    """Return who decided what, for a materialization; empty where nobody was asked.

    Args:
        requests: Of the step.
        quotes: Whether questions and reasons are shown.
    """
    decided = [(request, request.decision) for request in requests if request.decision is not None]
    if not decided:
        return {}
    names = ("approval", "item", "question", "verdict", "by", "reason", "at")
    rows = [
        (
            request.id,
            request.asker.item,
            told(request) if quotes else "…",
            said.verdict,
            said.by,
            (said.reason or "") if quotes or not said.reason else "…",
            _minute(said.at),
        )
        for request, said in decided[:SHOWN]
    ]
    return {
        "approvals": dg.MetadataValue.table(
            [dg.TableRecord(dict(zip(names, row, strict=True))) for row in rows],
            schema=dg.TableSchema([dg.TableColumn(name) for name in names]),
        )
    }


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
