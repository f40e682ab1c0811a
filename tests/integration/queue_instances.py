"""Instances of Dagster with a fair queue, whose runs only write down that they were started."""
# Dagster is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import contextlib
import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, cast

import dagster as dg
import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._daemon.controller import create_daemons_from_instance
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_tenancy.queue.seam_daemon import FairQueueDaemon
from orchestrator_tenancy.tenant_store import TenantStore, applied

TENANTS: Final[dict[str, Any]] = {
    "organisations": {"acme": {"title": "Acme"}},
    "plans": {
        "free": {"quotas": {"runs": 2, "queued_runs": 5, "gpus": 1}},
        "team": {"weight": 4},
    },
    "tenants": {
        "red": {"organisation": "acme", "plan": "free", "locations": {"red-one": {}, "red-two": {}}},
        "blue": {"organisation": "acme", "plan": "team", "locations": {"blue": {}}},
    },
}


class RecordingLauncher(RunLauncher[Any], ConfigurableClass):
    """Writes the ids of runs that it starts into a file, one a line; nothing else happens."""

    def __init__(self, file: str, inst_data: ConfigurableClassData | None = None) -> None:
        self.file: Final = Path(file)
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"file": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        with self.file.open("a") as file:
            file.write(f"{context.dagster_run.run_id}\n")

    def terminate(self, run_id: str) -> bool:
        return False

    def launched(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []

    def was_launched(self, run: DagsterRun) -> bool:
        return run.run_id in self.launched()


class NoCode:
    """A workspace process context whose locations nobody asks for."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> None:
        return None


def prepare(
    folder: Path,
    place: str,
    *,
    tenants: Mapping[str, Any] | None = None,
    runs: int = 10,
    concurrency: Mapping[str, Any] | None = None,
    **coordinator: Any,
) -> None:
    """Write the settings of an instance whose runs are in a place: a folder, or the URL of a database."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tenants(folder, TENANTS if tenants is None else tenants)
    settings: dict[str, Any] = {
        "telemetry": {"enabled": False},
        "run_coordinator": {
            "module": "orchestrator_tenancy.queue.seam_coordinator",
            "class": "FairRunCoordinator",
            "config": coordinator,
        },
        "run_launcher": {
            "module": "tests.integration.queue_instances",
            "class": "RecordingLauncher",
            "config": {"file": str(folder / "launched")},
        },
        "concurrency": {"runs": {"max_concurrent_runs": runs}, **(concurrency or {})},
    }
    if is_postgres(place):
        settings["storage"] = {"postgres": {"postgres_url": place}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))


def write_tenants(folder: Path, tenants: Mapping[str, Any]) -> None:
    """Make or change tenants, as `orchestrator tenants apply` does."""
    database = SqliteState(folder / "control" / "tenants.db")
    TenantStore(database).change(lambda stored: applied(stored, dict(tenants)))
    database.close()


@contextlib.contextmanager
def opened(folder: Path) -> Generator[DagsterInstance]:
    """Open an instance, as one process does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        with DagsterInstance.from_config(str(folder)) as instance:
            yield instance


def job_of(location: str, pool: str | None = None, tags: Mapping[str, Any] | None = None) -> dg.JobDefinition:
    @dg.op(name="work", pool=pool, tags=tags)
    def work() -> None: ...

    @dg.job(name=f"job_of_{location.replace('-', '_')}")
    def job() -> None:
        work()

    return job


def origin_of(location: str) -> RemoteJobOrigin:
    """Return where a job of a code location is."""
    return RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "repository"), "job"
    )


def submit(
    instance: DagsterInstance,
    location: str,
    *,
    job: dg.JobDefinition | None = None,
    priority: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> DagsterRun:
    """Make a run of a code location, as the web server does, and submit it."""
    run = instance.create_run_for_job(
        job or job_of(location),
        run_id=str(uuid.uuid4()),
        tags={
            "dagster/code_location": location,
            **({} if priority is None else {PRIORITY_TAG: str(priority)}),
            **(tags or {}),
        },
        remote_job_origin=origin_of(location),
    )
    return instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=cast("Any", None)))


def tick(instance: DagsterInstance, daemon: QueuedRunCoordinatorDaemon | None = None) -> list[str]:
    """Let a daemon, a new one by default, look once; return the runs that it started, in order."""
    before = len(launcher_of(instance).launched())
    context = cast("Any", NoCode(instance))
    assert [told for told in (daemon or FairQueueDaemon(1)).run_iteration(context) if told is not None] == []
    return launcher_of(instance).launched()[before:]


def start_stock_daemons(instance: DagsterInstance) -> None:
    """Do what `dagster-daemon run` does first."""
    create_daemons_from_instance(instance)


def launcher_of(instance: DagsterInstance) -> RecordingLauncher:
    launcher = instance.run_launcher
    assert isinstance(launcher, RecordingLauncher)
    return launcher


def begin(instance: DagsterInstance, runs: Sequence[str]) -> None:
    """Let runs say that they began."""
    for name in runs:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="job"), run_id=name
        )


def end(instance: DagsterInstance, runs: Sequence[str]) -> None:
    """Let runs say that they are done."""
    for name in runs:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="job"), run_id=name
        )


def status(instance: DagsterInstance, run: DagsterRun | str) -> DagsterRunStatus:
    found = instance.get_run_by_id(run if isinstance(run, str) else run.run_id)
    assert found is not None
    return found.status


def log(instance: DagsterInstance, run: DagsterRun) -> list[str]:
    """Return what stands in a run's log."""
    return [entry.user_message or entry.message for entry in instance.all_logs(run.run_id)]


def copied(folder: Path, to: Path) -> None:
    """Copy an instance in files, with its settings for the new place."""
    shutil.copytree(folder, to)
    settings = (to / "dagster.yaml").read_text()
    (to / "dagster.yaml").write_text(settings.replace(str(folder), str(to)))
