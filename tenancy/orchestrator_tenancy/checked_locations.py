"""Code locations as the web server and the daemon see them: each answer has its tenant's names, or is not taken.

A custom location is somebody else's program. It answers what it likes: names of others when it loads, others when a run
is planned, events and partitions of others from a sensor, nothing at all, or too much. Each answer is looked at where
it comes in. Whose a location is, the control plane says, not the location.

Dagster loads the locations of a workspace one after the other, in the web server before it serves and in the daemon
every minute: one that hangs holds up all others for minutes, and the daemon ends itself after five. Here all load at
once, and who is not there in time has an error of its own.

Checked against Dagster 1.13.27; `tests/integration/test_checked_locations.py` fails when it moves.
"""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.definitions.run_request import RunRequest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from dagster._core.remote_origin import CodeLocationOrigin, GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteExecutionPlan, RemoteJob
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster_shared.error import SerializableErrorInfo

from orchestrator_tenancy.custom_locations import ForeignNames, refuse_foreign
from orchestrator_tenancy.location_names import foreign_in_job, foreign_in_snap
from orchestrator_tenancy.tenants import TenantDirectory
from orchestrator_tenancy.told_names import foreign_in_plan, foreign_in_requests, foreign_in_tick

SECONDS: Final = 20.0
"""How long a location may take to tell what it has while others wait; one that is late is taken once it answers."""

REQUESTS: Final = 1_000
"""Most runs that one tick of a sensor or schedule may ask for: the daemon makes them one by one, for all tenants."""

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest answer of a code server; Dagster's own default is 100 MB. A thousand assets are about 5 MB."""

_LONGEST: Final = 2_000
_MESSAGE_VARIABLE: Final = "DAGSTER_GRPC_MAX_RX_BYTES"


class LocationRefused(Exception):
    """A code location is not taken, or an answer of it; the text says why."""


def bound_messages() -> None:
    """Let this process take no answer of a code server above `MESSAGE_BYTES`, unless its environment says otherwise."""
    os.environ.setdefault(_MESSAGE_VARIABLE, str(MESSAGE_BYTES))


class _BoundedClient(DagsterGrpcClient):
    """A client that takes no more of a stream than of one answer: the ticks of sensors come in streams."""

    def _streaming_query(self, method: str, *given: Any, **named: Any) -> Iterator[Any]:
        size = 0
        for part in super()._streaming_query(method, *given, **named):
            size += part.ByteSize()
            if size > MESSAGE_BYTES:
                raise LocationRefused(
                    f"the code server answers {method} with more than {MESSAGE_BYTES} bytes"
                )
            yield part


class CheckedCodeLocation(GrpcServerCodeLocation):
    """A tenant's code location, each of whose answers has the tenant's names or is refused.

    Args:
        origin: Where its code server is.
        instance: Of the platform.
        tenant: Whose it is.

    Raises:
        ForeignNames: It has others.
    """

    def __init__(self, origin: CodeLocationOrigin, instance: DagsterInstance, tenant: str) -> None:
        """Ask the code server what it has."""
        self._tenant = tenant
        super().__init__(origin, instance=instance)
        self.client = _BoundedClient(port=self.port, socket=self.socket, host=self.host, use_ssl=self.use_ssl)
        try:
            for name, repository in self.get_repositories().items():
                jobs = self._job_snaps_by_name[name].values()
                self._refuse(foreign_in_snap(repository.repository_snap, jobs, tenant))
        except BaseException:
            self.cleanup()
            raise

    def get_job(self, selector: JobSubsetSelector) -> RemoteJob:
        """Return a job, or a part of it."""
        return self._checked_job(super().get_job(selector))

    async def gen_subset_job(self, selector: JobSubsetSelector, *more: Any, **others: Any) -> RemoteJob:
        """Return a part of a job."""
        return self._checked_job(await super().gen_subset_job(selector, *more, **others))

    def get_execution_plan(self, *given: Any, **named: Any) -> RemoteExecutionPlan:
        """Return the plan of a run."""
        return self._checked_plan(super().get_execution_plan(*given, **named))

    async def gen_execution_plan(self, *given: Any, **named: Any) -> RemoteExecutionPlan:
        """Return the plan of a run."""
        return self._checked_plan(await super().gen_execution_plan(*given, **named))

    def get_sensor_execution_data(
        self, instance: DagsterInstance, *given: Any, **named: Any
    ) -> SensorExecutionData:
        """Return what a sensor wants."""
        told = super().get_sensor_execution_data(instance, *given, **named)
        self._refuse(foreign_in_tick(told, self._tenant))
        self._refuse_many(told.run_requests)
        for reaction in told.dagster_run_reactions or ():
            run = (
                None if reaction.dagster_run is None else instance.get_run_by_id(reaction.dagster_run.run_id)
            )
            origin = None if run is None else run.remote_job_origin
            if origin is None or origin.location_name != self.name:
                raise LocationRefused(f"the code location {self.name!r} tells of a run that is not its own")
        return told

    def get_schedule_execution_data(self, *given: Any, **named: Any) -> ScheduleExecutionData:
        """Return what a schedule wants."""
        told = super().get_schedule_execution_data(*given, **named)
        self._refuse(foreign_in_requests(told.run_requests or (), self._tenant))
        self._refuse_many(told.run_requests)
        return told

    def _checked_job(self, job: RemoteJob) -> RemoteJob:
        self._refuse(foreign_in_job(job.job_snapshot, self._tenant))
        return job

    def _checked_plan(self, plan: RemoteExecutionPlan) -> RemoteExecutionPlan:
        self._refuse(foreign_in_plan(plan.execution_plan_snapshot, self._tenant))
        return plan

    def _refuse(self, foreign: list[str]) -> None:
        refuse_foreign(foreign, self._tenant, f"the code location {self.name!r}")

    def _refuse_many(self, requests: Sequence[RunRequest] | None) -> None:
        if len(requests or ()) > REQUESTS:
            raise LocationRefused(
                f"the code location {self.name!r} asks for {len(requests or ())} runs in one tick; the most is"
                f" {REQUESTS}"
            )


class _CheckedOrigin(GrpcServerCodeLocationOrigin):
    """Where a code server is, and whose; what comes of it has a plain origin, as Dagster stores with runs."""

    def get_id(self) -> str:
        return _of(self).plain.get_id()

    def get_display_metadata(self) -> Mapping[str, str]:
        return _of(self).plain.get_display_metadata()

    def create_location(self, instance: DagsterInstance) -> GrpcServerCodeLocation:
        with _in_one_line(self.location_name):
            return _of(self).create(instance)

    def reload_location(self, instance: DagsterInstance) -> GrpcServerCodeLocation:
        beginning = _of(self)
        with _in_one_line(self.location_name):
            beginning.plain.create_client().reload_code(timeout=instance.code_server_reload_timeout)
            return beginning.create(instance)


@contextlib.contextmanager
def _in_one_line(name: str) -> Generator[None]:
    """Let tenants see what is wrong with a location, without where in the platform that was found.

    The location's own error is left as it is. The name of the class stays: Dagster asks those again, every few seconds,
    that could not be reached.
    """
    try:
        yield
    except DagsterUserCodeProcessError:
        raise
    except Exception as error:
        kind = type(error).__name__
        own = isinstance(error, LocationRefused | ForeignNames)
        text = str(error) if own else f"the code location {name!r} cannot be loaded: {kind}: {error}"
        told = SerializableErrorInfo(message=f"{text[:_LONGEST]}\n", stack=[], cls_name=kind)
        raise DagsterUserCodeProcessError.from_error_info(told) from error  # type: ignore[no-untyped-call]


class _Beginning:
    """The first look at a location, in a thread of its own; who asks later asks the code server again.

    Args:
        plain: Where its code server is.
        tenant: Whose it is; None where no tenant has it.
        instance: Of the platform.
        until: Until when the first look is waited for, on the monotonic clock.
    """

    def __init__(
        self, plain: GrpcServerCodeLocationOrigin, tenant: str | None, instance: DagsterInstance, until: float
    ) -> None:
        self.plain = plain
        self._tenant = tenant
        self._until = until
        self._first: Future[GrpcServerCodeLocation] | None = Future()
        threading.Thread(target=self._look, args=(instance, self._first), daemon=True).start()

    def create(self, instance: DagsterInstance) -> GrpcServerCodeLocation:
        """Return the location.

        Raises:
            LocationRefused: Nobody has it.
            DagsterUserCodeUnreachableError: It is late.
        """
        first, self._first = self._first, None
        if first is None:
            return self._create(instance)
        try:
            return first.result(timeout=max(self._until - time.monotonic(), 0.0))
        except TimeoutError as error:
            raise DagsterUserCodeUnreachableError(
                "its code server has not told in time what it has; it is asked again every few seconds"
            ) from error

    def _look(self, instance: DagsterInstance, first: Future[GrpcServerCodeLocation]) -> None:
        try:
            first.set_result(self._create(instance))
        except BaseException as error:
            first.set_exception(error)

    def _create(self, instance: DagsterInstance) -> GrpcServerCodeLocation:
        if self._tenant is None:
            raise LocationRefused(
                f"no tenant has the code location {self.plain.location_name!r}: add it to one, or take it out of the"
                " workspace"
            )
        return CheckedCodeLocation(self.plain, instance, self._tenant)


def _of(origin: _CheckedOrigin) -> _Beginning:
    beginning: Mapping[str, Any] = origin.additional_metadata or {}
    found = beginning[_BEGINNING]
    assert isinstance(found, _Beginning)
    return found


_BEGINNING: Final = "orchestrator"


class CheckedLocations(WorkspaceLoadTarget):
    """The locations of a workspace, each with its tenant's names alone, none of which waits for another.

    Args:
        target: Where the workspace says that they are; gRPC servers alone.
        tenants: Whose each is.
        instance: Of the platform.
        seconds: How long the first look may take, at all of them together.
    """

    def __init__(
        self,
        target: WorkspaceLoadTarget,
        tenants: TenantDirectory,
        instance: DagsterInstance,
        *,
        seconds: float = SECONDS,
    ) -> None:
        """Begin with no location."""
        self._target = target
        self._tenants = tenants
        self._instance = instance
        self._seconds = seconds

    def create_origins(self) -> Sequence[CodeLocationOrigin]:
        """Return where the locations are, all of which are being asked from now on.

        Raises:
            LocationRefused: The workspace has a location that this process would have to start itself.
        """
        tenancy = self._tenants.tenancy()
        until = time.monotonic() + self._seconds
        made = list[CodeLocationOrigin]()
        for origin in self._target.create_origins():
            if not isinstance(origin, GrpcServerCodeLocationOrigin):
                raise LocationRefused(
                    f"the workspace has the location {origin.location_name!r}, which is no gRPC server: its Python"
                    " would run with the platform's rights"
                )
            beginning = _Beginning(origin, tenancy.owner(origin.location_name), self._instance, until)
            made.append(
                _CheckedOrigin(
                    host=origin.host,
                    port=origin.port,
                    socket=origin.socket,
                    location_name=origin.location_name,
                    use_ssl=origin.use_ssl,
                    additional_metadata={_BEGINNING: beginning},
                )
            )
        return made
