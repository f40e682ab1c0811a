"""The state of a session: Agno's own record of it, as text."""

import copy
import json
from typing import Any, Final

from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession
from agno.team import Team
from agno.workflow import Workflow

RUNS_KEPT: Final = 20
"""Runs of a session that are kept; Agno itself shows the model the last 3 unless the agent says otherwise."""

RECORDS: Final[dict[type, Any]] = {Agent: AgentSession, Team: TeamSession, Workflow: WorkflowSession}

Runnable = Agent | Team | Workflow


def with_session(agent: Runnable, session: str, text: str | None) -> Runnable:
    """Return `agent` over a database of this execution alone that holds the session.

    An agent with a database of its own keeps it.

    Args:
        agent: Is not changed.
        session: Name of the session.
        text: What `dump_session` told; None when the session is new.
    """
    if agent.db is not None:
        return agent
    database = InMemoryDb()  # type: ignore[no-untyped-call]
    if text is not None:
        database.upsert_session(_record(agent).from_dict(json.loads(text)))
    own = copy.copy(agent)
    own.db = database
    if isinstance(own, Workflow):
        own.add_workflow_history_to_steps = True
    else:
        own.add_history_to_context = True
    return own


def dump_session(agent: Runnable, session: str) -> str:
    """Return the session's record in the agent's database as text; only an empty object for a database of its own."""
    if not isinstance(agent.db, InMemoryDb):
        return "{}"
    record: Any = agent.db.get_session(session, deserialize=False)
    if record is None:
        raise LookupError("the agent stored no session")
    record["runs"] = (record["runs"] or [])[-RUNS_KEPT:]
    return json.dumps(record, default=str)


async def paused_run(agent: Runnable, session: str) -> RunOutput | TeamRunOutput | None:
    """Return the run of a session that waits for a person; None when its last run does not.

    The runs of a team's members are in its session, too; the team's own is the one that goes on.
    """
    if isinstance(agent, Workflow):
        return None
    found: Any = await agent.aget_session(session_id=session)
    runs = [run for run in found.runs or () if run.parent_run_id is None] if found is not None else []
    last = runs[-1] if runs else None
    return last if isinstance(last, RunOutput | TeamRunOutput) and last.is_paused else None


def _record(agent: Runnable) -> Any:
    return next(record for kind, record in RECORDS.items() if isinstance(agent, kind))
