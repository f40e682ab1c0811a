"""A Dagster run as events of OpenLineage: the run, and a child run for each step that made assets.

https://openlineage.io/spec/2-0-2/OpenLineage.json, by the classes that the official client generates from it.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import attr
import dagster as dg
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.generated import base, error_message_run, parent_run
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

PRODUCER: Final = "urn:agent-orchestrator:openlineage:v1"
"""What every event and facet is of."""

_POINTER: Final = "dagster/input_event_pointer/"
_INPUT_VERSION: Final = "dagster/input_data_version/"
_VERSION: Final = "dagster/data_version"
_LONGEST_ERROR: Final = 2_000


@attr.define
class BundleRunFacet(base.RunFacet):
    """Which published agent a step ran; its names are those of the materialization."""

    bundle: str
    publish: str
    publisher: str
    digest: str

    @staticmethod
    def _get_schema() -> str:
        return f"{PRODUCER}#BundleRunFacet"


@attr.define
class UsageRunFacet(base.RunFacet):
    """What the executions of a step used, as Dagster shows it; a count is None where it was not told."""

    inputTokens: int | None = None  # noqa: N815  # as all names of OpenLineage
    outputTokens: int | None = None  # noqa: N815
    modelCalls: int | None = None  # noqa: N815
    toolCalls: int | None = None  # noqa: N815
    executions: int | None = None

    @staticmethod
    def _get_schema() -> str:
        return f"{PRODUCER}#UsageRunFacet"


@dataclass(frozen=True, kw_only=True)
class Made:
    """An asset that a step made.

    Attributes:
        step: Key of the step.
        asset: Key, its parts joined by `/`.
        at: When.
        version: Data version; empty when it has none.
        inputs: Data version of each asset that it was made of, by key; empty where it is not known.
        told: Metadata that is text or a number, by name.
    """

    step: str
    asset: str
    at: datetime
    version: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    told: Mapping[str, str | int | float] = field(default_factory=dict[str, str | int | float])


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is told of a run.

    Attributes:
        run: Id.
        parent: Id of the run that this one repeats; None when it repeats none.
        namespace: Of jobs and assets.
        job: Name of the job.
        began: When.
        ended: When; None while it goes on.
        state: The last that is known.
        error: What it failed of; empty when it did not.
        made: Assets, in their order.
    """

    run: str
    namespace: str
    job: str
    began: datetime
    state: RunState
    parent: str | None = None
    ended: datetime | None = None
    error: str = ""
    made: Sequence[Made] = ()


def run_events(facts: RunFacts) -> list[RunEvent]:
    """Return what is told of a run that has begun, or ended: all of it, so that whoever missed the beginning has it.

    The same run has the same ids, however often it is told.
    """
    set_producer(PRODUCER)  # of all facets: the client has one for a process
    job = Job(namespace=facts.namespace, name=facts.job)
    parents = {} if facts.parent is None else {"parent": _parent(facts, facts.parent)}
    begun = [
        _event(RunState.START, facts.began, Run(runId=facts.run, facets=dict(parents)), job),
        _event(RunState.RUNNING, facts.began, Run(runId=facts.run, facets=dict(parents)), job),
    ]
    if facts.ended is None:
        return begun
    facets: dict[str, base.RunFacet] = dict(parents)
    if facts.error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=facts.error[:_LONGEST_ERROR], programmingLanguage="PYTHON"
        )
    steps: dict[str, list[Made]] = {}
    for made in facts.made:
        steps.setdefault(made.step, []).append(made)
    inputs, outputs = _datasets(facts.namespace, facts.made)
    last = _event(facts.state, facts.ended, Run(runId=facts.run, facets=facets), job, inputs, outputs)
    return [
        *begun,
        *(event for step, made in steps.items() for event in _step_events(facts, step, made)),
        last,
    ]


def step_run_id(run: str, step: str) -> str:
    """Return the id of a step's run: the same for the same step of the same run."""
    return str(uuid.uuid5(uuid.UUID(run), step))


def _step_events(facts: RunFacts, step: str, made: Sequence[Made]) -> list[RunEvent]:
    run, job = step_run_id(facts.run, step), Job(namespace=facts.namespace, name=f"{facts.job}.{step}")
    facets: dict[str, base.RunFacet] = {"parent": _parent(facts, facts.run)}
    for one in made:
        facets |= _own_facets(one.told)
    inputs, outputs = _datasets(facts.namespace, made)
    at = max(one.at for one in made)
    return [
        _event(RunState.START, facts.began, Run(runId=run, facets=dict(facets)), job, inputs),
        _event(RunState.COMPLETE, at, Run(runId=run, facets=facets), job, inputs, outputs),
    ]


def _own_facets(told: Mapping[str, str | int | float]) -> dict[str, base.RunFacet]:
    found: dict[str, base.RunFacet] = {}
    publish = str(told.get("publish", ""))
    if publish:
        found["agentOrchestrator_bundle"] = BundleRunFacet(
            bundle=str(told.get("bundle", "")),
            publish=publish,
            publisher=str(told.get("publisher", "")),
            digest=publish.partition("@")[2],
        )
    usage = UsageRunFacet(
        inputTokens=_count(told.get("input_tokens")),
        outputTokens=_count(told.get("output_tokens")),
        modelCalls=_count(told.get("model_calls")),
        toolCalls=_count(told.get("tool_calls")),
        executions=_count(told.get("executions")),
    )
    if usage.modelCalls is not None or usage.inputTokens is not None:
        found["agentOrchestrator_usage"] = usage
    return found


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parent(facts: RunFacts, run: str) -> parent_run.ParentRunFacet:
    return parent_run.ParentRunFacet(
        run=parent_run.Run(runId=run),
        job=parent_run.Job(namespace=facts.namespace, name=facts.job),
    )


def _datasets(namespace: str, made: Iterable[Made]) -> tuple[list[InputDataset], list[OutputDataset]]:
    versions: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for one in made:
        versions |= one.inputs
        outputs[one.asset] = one.version
    return (
        [
            InputDataset(namespace=namespace, name=asset, facets=_version(version))
            for asset, version in sorted(versions.items())
            if asset not in outputs
        ],
        [
            OutputDataset(namespace=namespace, name=asset, facets=_version(version))
            for asset, version in sorted(outputs.items())
        ],
    )


def _version(version: str) -> dict[str, base.DatasetFacet]:
    if not version:
        return {}
    return {"version": DatasetVersionDatasetFacet(datasetVersion=version)}


def _event(
    state: RunState,
    at: datetime,
    run: Run,
    job: Job,
    inputs: Sequence[InputDataset] = (),
    outputs: Sequence[OutputDataset] = (),
) -> RunEvent:
    return RunEvent(
        eventTime=at.astimezone(UTC).isoformat(),
        producer=PRODUCER,
        run=run,
        job=job,
        eventType=state,
        inputs=list(inputs),
        outputs=list(outputs),
    )


def facts_of(instance: dg.DagsterInstance, run_id: str, namespace: str) -> RunFacts | None:
    """Return what is told of a run as it is now; None when there is no such run, or it has not begun."""
    record = instance.get_run_record_by_id(run_id)
    if record is None or record.start_time is None:
        return None
    run = record.dagster_run
    state = {
        dg.DagsterRunStatus.SUCCESS: RunState.COMPLETE,
        dg.DagsterRunStatus.FAILURE: RunState.FAIL,
        dg.DagsterRunStatus.CANCELED: RunState.ABORT,
    }.get(run.status, RunState.RUNNING)
    ended = record.end_time if state is not RunState.RUNNING else None
    return RunFacts(
        run=run.run_id,
        parent=run.parent_run_id,
        namespace=namespace,
        job=run.job_name,
        began=datetime.fromtimestamp(record.start_time, UTC),
        ended=None if ended is None else datetime.fromtimestamp(ended, UTC),
        state=state if ended is not None else RunState.RUNNING,
        error=_error_of(instance, run_id) if state is RunState.FAIL else "",
        made=[] if ended is None else _made_in(instance, run_id),
    )


def _error_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return which steps failed; what their errors say may quote what people gave, and stays in Dagster."""
    found = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=20).records
    steps = sorted({record.event_log_entry.step_key or "" for record in found})
    return f"failed: {', '.join(steps)}" if steps else "failed before a step began"


def _made_in(instance: dg.DagsterInstance, run_id: str) -> list[Made]:
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    found: list[Made] = []
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=kind, limit=500)
        found += [made for record in page.records if (made := _made(record)) is not None]
        if not page.has_more:
            return found
        cursor = page.cursor


def _made(record: dg.EventLogRecord) -> Made | None:
    made = record.asset_materialization
    if made is None:
        return None
    tags: Mapping[str, str] = made.tags or {}
    told: dict[str, str | int | float] = {}
    for name, entry in made.metadata.items():
        value: Any = entry.value
        if (
            isinstance(entry, dg.TextMetadataValue | dg.IntMetadataValue | dg.FloatMetadataValue)
            and value is not None
        ):
            told[name] = value
    return Made(
        step=record.event_log_entry.step_key or made.asset_key.to_user_string(),
        asset=made.asset_key.to_user_string(),
        at=datetime.fromtimestamp(record.timestamp, UTC),
        version=tags.get(_VERSION, ""),
        inputs={
            name.removeprefix(_POINTER): tags.get(f"{_INPUT_VERSION}{name.removeprefix(_POINTER)}", "")
            for name in tags
            if name.startswith(_POINTER)
        },
        told=told,
    )
