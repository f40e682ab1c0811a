"""`OpenLineageComponent`: a sensor that tells a backend of OpenLineage what runs did, in YAML."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster.components import ComponentLoadContext
from dagster.components.resolved.errors import ResolutionException
from pydantic import Field

from orchestrator_assets.spec_fields import PositiveInt
from orchestrator_sensors.openlineage_cursors import (
    SETTLED_SECONDS,
    Cursor,
    Told,
    read_cursor,
    written_cursor,
)

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

_AT_ONCE: Final = 50
"""Events of Dagster of one kind in a look."""
_LOOK_SECONDS: Final = 40.0
"""After which a look ends; Dagster ends it after 60."""

_KINDS: Final = (
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
)

Emit = Callable[["RunEvent"], object]


class OpenLineageComponent(dg.Component, dg.Model, dg.Resolvable):
    """Tells a backend of OpenLineage what runs did: inputs, outputs, versions, published agents, usage.

    A sensor reads Dagster's own events, so runs know nothing of the backend and wait for nothing. Where it is away,
    events are told later; none is lost, and some may come twice with the same ids.
    """

    namespace: str = Field(description="Of jobs and assets at the backend.", examples=["platform/team"])
    transport: Mapping[str, Any] | None = Field(
        default=None,
        description="Where to, as OpenLineage's client has it; None means OPENLINEAGE_URL or its other variables.",
        examples=[
            {"type": "http", "url": "https://lineage.example"},
            {"type": "file", "log_file_path": "lineage.jsonl", "append": True},
            {"type": "console"},
        ],
    )
    seconds: PositiveInt = Field(default=30, description="Least time between two looks.")
    name: str = Field(default="openlineage", description="Of the sensor.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what the Dagster UI tells beside the documentation."""
        return dg.ComponentTypeSpec(tags=["lineage"])

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the sensor.

        Raises:
            ResolutionException: OpenLineage's client is not installed.
        """
        return dg.Definitions(sensors=[self.sensor()])

    def sensor(self) -> dg.SensorDefinition:
        """Return the sensor.

        Raises:
            ResolutionException: OpenLineage's client is not installed.
        """
        if find_spec("openlineage") is None:
            raise ResolutionException("OpenLineage needs its client: install agent-orchestrator[openlineage]")

        @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
            name=self.name,
            minimum_interval_seconds=self.seconds,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Tells OpenLineage what runs did, as {self.namespace}.",
        )
        def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
            cursor = read_cursor(context.cursor)
            now = time.time()
            if now < cursor.pause_until:
                return dg.SkipReason(
                    f"the backend did not answer; asked again in {cursor.pause_until - now:.0f} s"
                )
            cursor, said = told(context.instance, cursor, self.namespace, self._emit())
            context.update_cursor(written_cursor(cursor))
            return dg.SkipReason(said)

        return look

    def _emit(self) -> Emit:
        """Return what sends an event. The sensor tries again, so the client itself does not."""
        from openlineage.client import OpenLineageClient

        if self.transport is None:
            return OpenLineageClient().emit
        given: dict[str, Any] = dict(self.transport)
        if given.get("type") == "http":
            given = {"timeout": 10.0, "retry": {"total": 0, "connect": 0, "read": 0}, **given}
        return OpenLineageClient(config={"transport": given}).emit


def told(instance: dg.DagsterInstance, cursor: Cursor, namespace: str, emit: Emit) -> tuple[Cursor, str]:
    """Tell what is new, and return how far that went and what became of it, in a line.

    Args:
        instance: Whose runs.
        cursor: How far it went before.
        namespace: Of jobs and assets.
        emit: Sends an event, and raises when it is not taken.
    """
    from orchestrator_sensors.openlineage_events import facts_of, run_events

    until, sent = time.monotonic() + _LOOK_SECONDS, 0
    for kind in _KINDS:
        done = cursor.kinds.get(kind.value, Told())
        records = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=done.after),
            limit=_AT_ONCE + len(done.young),
            ascending=True,
        ).records
        settled = done.after
        for record in records:
            if record.storage_id not in done.young:
                if time.monotonic() > until:
                    break
                facts = facts_of(instance, record.run_id, namespace)
                try:
                    for event in [] if facts is None else run_events(facts):
                        emit(event)
                        sent += 1
                except Exception as error:  # whatever a transport raises: the boundary of a look
                    kinds = {**cursor.kinds, kind.value: done.settled(settled)}
                    said = f"{sent} events were taken, then: {type(error).__name__}: {str(error)[:500]}"
                    return replace(cursor, kinds=kinds).failed(time.time()), said
                done = done.with_event(record.storage_id)
            if record.timestamp < time.time() - SETTLED_SECONDS:
                settled = record.storage_id
        cursor = replace(cursor, kinds={**cursor.kinds, kind.value: done.settled(settled)})
    return cursor.worked(), f"{sent} events were taken" if sent else "nothing is new"
