"""What a project adds so that decisions take effect: a sensor, a job to decide with, and a component of both."""

from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Annotated, Final

import dagster as dg
from dagster.components import ComponentLoadContext
from pydantic import Field

from orchestrator_assets.failures import failure
from orchestrator_assets.resumed_runs import resumed_runs
from orchestrator_assets.spec_fields import PositiveInt
from orchestrator_assets.waiting_metadata import DECISION_JOB
from orchestrator_resources.approvals import read_answer
from orchestrator_resources.instance_state import open_instance_state
from orchestrator_runtimes.errors import AgentError

_AT_ONCE: Final = 500
"""Most runs that one look asks for; the rest is there at the next."""


def approval_sensor(*, name: str = "approvals", seconds: int = 30) -> dg.SensorDefinition:
    """Make the sensor that goes on with waiting assets once everything is decided that their run asked.

    Args:
        name: Of the sensor.
        seconds: Least time between two looks.
    """

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
        name=name,
        minimum_interval_seconds=seconds,
        asset_selection=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Goes on with assets that waited for decisions, once all of a run's are there.",
    )
    def approvals(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        repository = context.repository_def
        assert repository is not None  # Dagster gives it to every sensor of a code location
        requests = list(islice(resumed_runs(context.instance, repository.assets_defs_by_key), _AT_ONCE))
        if not requests:
            yield dg.SkipReason("no waiting run has all of its decisions")
        yield from requests

    return approvals


_NOT_SAID: Final = "dagster"
"""Who decided, where nobody wrote a name into the launchpad."""


class Choice(Enum):
    """What may be decided."""

    approve = "approved"
    reject = "rejected"


class DecisionConfig(dg.Config):
    """A decision, as a run's config."""

    approval: str = Field(
        description="Id of the request, or the key of the asset where only one request of it waits."
    )
    decision: Choice = Field(description="approve or reject.")
    reason: str | None = Field(default=None, description="Why; the agent is told.")
    answer: str | None = Field(
        default=None,
        description="JSON for a framework's own interrupt, in place of the decision; tools take none.",
    )
    by: str = Field(default=_NOT_SAID, description="Who decides, for the record.")


def decision_job(*, name: str = DECISION_JOB, below: str | None = None) -> dg.JobDefinition:
    """Make the job that decides.

    Args:
        name: Of the job.
        below: How the keys of the assets begin whose requests it decides about, such as `acme/`; to the job there are
            no others. None decides about all of the instance.
    """

    @dg.op(name="decide")
    def decide(context: dg.OpExecutionContext, config: DecisionConfig) -> None:
        try:
            with open_instance_state(context.instance) as state:
                request = state.approvals.decide(
                    config.approval,
                    "approved" if config.decision is Choice.approve else "rejected",
                    by=config.by or _NOT_SAID,
                    reason=config.reason or None,
                    answer=read_answer(config.answer),
                    below=below,
                )
        except AgentError as error:
            raise failure(error) from error
        assert request.decision is not None  # it was made just now, or stood before
        context.log.info(f"{request.id} is {request.decision.verdict} by {request.decision.by}")

    @dg.job(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
        name=name,
        description="Decides about what an agent asks, by its config: see `orchestrator approvals list`.",
    )
    def decision() -> None:
        """Decide about a request for approval."""
        decide()

    return decision


approval_decision = decision_job()


class ApprovalsComponent(dg.Component, dg.Model, dg.Resolvable):
    """The sensor that goes on with assets once people have decided, and the job `approval_decision` to decide with.

    One for each code location that has agents that ask.
    """

    seconds: Annotated[PositiveInt, Field(description="Least time between two looks of the sensor.")] = 30

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the sensor and the job."""
        return dg.Definitions(sensors=[approval_sensor(seconds=self.seconds)], jobs=[approval_decision])
