"""Custom locations that lie, hang, or say too much: each has an error of its own, and nothing else happens."""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import DagsterRunReaction
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.execution.api import create_execution_plan
from dagster._core.snap import snapshot_from_execution_plan
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._grpc.__generated__ import dagster_api_pb2 as pb
from dagster._serdes import serialize_value

from orchestrator_tenancy import checked_locations
from orchestrator_tenancy.checked_locations import CheckedLocations, LocationRefused, bound_messages
from orchestrator_tenancy.custom_locations import ForeignNames
from orchestrator_tenancy.tenants import Tenancy, read_tenancy
from tests.integration.hostile_code_servers import CodeServer, Ports, answering, serving, telling

pytestmark = pytest.mark.filterwarnings(
    "ignore:Error loading repository location:UserWarning",
    # Dagster's snapshots read what Dagster deprecates
    "ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning",
)

CUSTOM = {"kind": "custom", "image": "theirs:1", "module": "theirs"}
TENANCY = read_tenancy(
    {
        "organisations": {"all": {"title": "All"}},
        "plans": {"team": {"custom_locations": True}},
        "tenants": {
            "acme": {"organisation": "all", "plan": "team", "locations": {"acme": CUSTOM}},
            "globex": {"organisation": "all", "plan": "team", "locations": {"globex": CUSTOM}},
        },
    }
)


class Tenants:
    def tenancy(self) -> Tenancy:
        return TENANCY


def definitions(tenant: str, *more: str) -> dg.Definitions:
    @dg.asset(key=[tenant, "one"])
    def one() -> None: ...

    @dg.sensor(name=f"{tenant}__sensor", asset_selection=[dg.AssetKey([tenant, "one"])])
    def sensor() -> None: ...

    return dg.Definitions(assets=[one, *(dg.AssetSpec(key.split("/")) for key in more)], sensors=[sensor])


@dataclass
class Platform:
    """The workspace of a web server, in which `globex` is as good as gold."""

    context: WorkspaceProcessContext
    server: CodeServer

    @property
    def request(self) -> Any:
        return self.context.create_request_context()

    def error(self, name: str = "acme") -> str:
        entry = self.request.get_code_location_entries()[name]
        return "" if entry.load_error is None else entry.load_error.to_string()

    @property
    def location(self) -> Any:
        return self.request.get_code_location("acme")

    def others_are_fine(self) -> bool:
        return (
            self.error("globex") == "" and self.request.get_code_location("globex").get_repositories() != {}
        )

    def tick(self) -> Any:
        handle = self.location.get_repository("__repository__").handle
        return self.location.get_sensor_execution_data(
            self.context.instance, handle, "acme__sensor", None, None, None, None, None
        )


Start = Callable[..., Platform]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Generator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}}) as made:
        yield made


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Generator[Start]:
    monkeypatch.setenv("DAGSTER_GRPC_MAX_RX_BYTES", "")
    monkeypatch.delenv("DAGSTER_GRPC_MAX_RX_BYTES")
    bound_messages()
    with contextlib.ExitStack() as stack:

        def started(
            given: dg.Definitions | None = None,
            seconds: float = 20.0,
            more: dict[str, int] | None = None,
            **lies: Any,
        ) -> Platform:
            server = stack.enter_context(serving(CodeServer(given or definitions("acme"), lies)))
            good = stack.enter_context(serving(CodeServer(definitions("globex"))))
            ports = Ports({"acme": server.port, "globex": good.port, **(more or {})})
            target = CheckedLocations(ports, Tenants(), instance, seconds=seconds)
            context = stack.enter_context(WorkspaceProcessContext(instance, target))
            stack.callback(server.over.set)
            return Platform(context, server)

        yield started


def test_a_location_with_its_tenants_names_is_as_it_is_in_stock_dagster(start: Start) -> None:
    platform = start()
    assert platform.error() == ""
    (asset,) = platform.location.get_repository("__repository__").repository_snap.asset_nodes
    assert asset.asset_key.path == ["acme", "one"]
    origin = platform.location.origin
    assert type(origin).__name__ == "GrpcServerCodeLocationOrigin", "what Dagster stores with runs is its own"
    entry = platform.request.get_code_location_entries()["acme"]
    assert entry.origin.get_id() == origin.get_id()
    assert entry.origin.get_display_metadata() == {"host": "127.0.0.1", "port": str(platform.server.port)}
    assert platform.tick() == SensorExecutionData()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (definitions("globex"), "asset globex/one"),
        (definitions("acme", "globex/two"), "asset globex/two"),
        (definitions("acme", "acme/../globex"), "asset acme/../globex"),
    ],
)
def test_names_of_another_are_not_taken(start: Start, given: dg.Definitions, why: str) -> None:
    platform = start(given)
    assert f"the code location 'acme' has names that are not of the tenant 'acme': {why}" in platform.error()
    assert platform.others_are_fine()


def test_a_location_of_nobody_is_not_taken(start: Start) -> None:
    platform = start(more={"initech": 1})
    assert "no tenant has the code location 'initech'" in platform.error("initech")
    assert platform.error() == "" and platform.others_are_fine()


def hang(server: CodeServer, request: Any) -> Any:
    server.over.wait(60)


def crash(server: CodeServer, request: Any) -> Any:
    raise RuntimeError("no")


def large(server: CodeServer, request: Any) -> Any:
    return pb.ExternalRepositoryReply(serialized_external_repository_data="x" * 100_000_000)


def garbage(server: CodeServer, request: Any) -> Any:
    return pb.ExternalRepositoryReply(serialized_external_repository_data="{")


def deep(server: CodeServer, request: Any) -> Any:
    return pb.ExternalRepositoryReply(serialized_external_repository_data="[" * 1_000_000)


def other_class(server: CodeServer, request: Any) -> Any:
    run = dg.DagsterRun(job_name="x", run_id="x")
    return pb.ExternalRepositoryReply(serialized_external_repository_data=serialize_value(run))


def unknown_class(server: CodeServer, request: Any) -> Any:
    told = '{"__class__": "subprocess.Popen", "args": ["touch", "/tmp/called"]}'
    return pb.ExternalRepositoryReply(serialized_external_repository_data=told)


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        ({"ListRepositories": crash}, "Could not reach user code server"),
        ({"ExternalRepository": crash}, "Could not reach user code server"),
        ({"ExternalRepository": large}, "RESOURCE_EXHAUSTED"),
        ({"ExternalRepository": garbage}, "the code location 'acme' cannot be loaded: JSONDecodeError"),
        ({"ExternalRepository": deep}, "the code location 'acme' cannot be loaded: RecursionError"),
        ({"ExternalRepository": other_class}, "the code location 'acme' cannot be loaded: "),
        ({"ExternalRepository": unknown_class}, 'class "subprocess.Popen" which is not in the whitelist'),
        ({"ExternalJob": crash}, "Could not reach user code server"),
    ],
)
def test_a_location_that_answers_nonsense_has_an_error_and_others_do_not(
    start: Start, lies: dict[str, Any], why: str
) -> None:
    platform = start(**lies)
    assert why in platform.error()
    assert os.getcwd() not in platform.error() and len(platform.error()) < 2_500, (
        "nothing of the platform's own code"
    )
    assert platform.others_are_fine()


@pytest.mark.parametrize("call", ["ListRepositories", "GetServerId", "ExternalRepository", "ExternalJob"])
def test_nobody_waits_for_a_location_that_hangs(start: Start, call: str) -> None:
    began = time.monotonic()
    platform = start(seconds=3.0, **{call: hang})
    assert "has not told in time what it has" in platform.error()
    assert platform.others_are_fine()
    platform.context.refresh_workspace()  # as the daemon does each minute
    assert time.monotonic() - began < 40, "Dagster alone waits 60 seconds each time"


def test_a_location_that_was_late_is_there_once_it_answers(start: Start) -> None:
    platform = start(seconds=1.0, ListRepositories=hang)
    assert "has not told in time" in platform.error()
    platform.server.lies = {}
    until = time.monotonic() + 60
    while platform.error() and time.monotonic() < until:
        time.sleep(0.2)
    assert platform.error() == "", "nobody had to reload it"
    platform.context.reload_code_location("acme")
    assert platform.error() == "" and "ReloadCode" in platform.server.asked


def test_names_that_change_after_loading_are_seen_when_it_is_loaded_again(start: Start) -> None:
    platform = start()
    platform.server.definitions = definitions("globex")
    for again in (platform.context.refresh_code_location, platform.context.reload_code_location):
        again("acme")
        assert "asset globex/one" in platform.error()


EVENT = dg.AssetMaterialization(asset_key=dg.AssetKey(["globex", "one"]))
FOREIGN_TICKS: list[tuple[dict[str, Any], str]] = [
    ({"asset_events": [EVENT]}, "asset globex/one"),
    ({"asset_events": [dg.AssetObservation(asset_key=EVENT.asset_key)]}, "asset globex/one"),
    (
        {"dynamic_partitions_requests": [dg.AddDynamicPartitionsRequest("globex__customers", ["x"])]},
        "dynamic partitions globex__customers",
    ),
    (
        {"dynamic_partitions_requests": [dg.DeleteDynamicPartitionsRequest("customers", ["x"])]},
        "dynamic partitions customers",
    ),
    ({"run_requests": [dg.RunRequest(asset_selection=[EVENT.asset_key])]}, "asset globex/one"),
    ({"run_requests": [dg.RunRequest(tags={"dagster/concurrency_key": "gpu"})]}, "concurrency key gpu"),
]


@pytest.mark.parametrize(
    ("told", "why"), FOREIGN_TICKS, ids=[f"{next(iter(t))}-{w}" for t, w in FOREIGN_TICKS]
)
def test_a_sensor_acts_on_nothing_of_another(start: Start, told: dict[str, Any], why: str) -> None:
    platform = start(ExternalSensorExecution=telling(SensorExecutionData(**told)))
    with pytest.raises(ForeignNames, match=why):
        platform.tick()


def test_a_sensor_asks_for_some_runs_and_no_flood(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_locations, "REQUESTS", 2)
    requests = [dg.RunRequest(run_key=str(n)) for n in range(3)]
    platform = start(ExternalSensorExecution=telling(SensorExecutionData(run_requests=requests)))
    with pytest.raises(LocationRefused, match="asks for 3 runs in one tick; the most is 2"):
        platform.tick()


def test_a_tick_that_never_ends_is_left(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_locations, "MESSAGE_BYTES", 4_000_000)
    sent = list[int]()

    def stream(server: CodeServer, request: Any) -> Any:
        while not server.over.is_set():
            sent.append(1)
            yield pb.StreamingChunkEvent(sequence_number=len(sent), serialized_chunk="x" * 1_000_000)

    platform = start(ExternalSensorExecution=stream)
    with pytest.raises(LocationRefused, match="more than 4000000 bytes"):
        platform.tick()
    assert len(sent) < 100


def test_a_reaction_to_a_run_of_another_writes_nothing(start: Start) -> None:
    told = SensorExecutionData(dagster_run_reactions=[DagsterRunReaction(_run_of_globex())])
    platform = start(ExternalSensorExecution=telling(told))
    with pytest.raises(LocationRefused, match="tells of a run that is not its own"):
        platform.tick()


def _run_of_globex() -> dg.DagsterRun:
    return dg.DagsterRun(job_name="x", run_id="11111111-1111-1111-1111-111111111111")


def test_the_plan_of_a_run_is_of_its_tenant(start: Start) -> None:
    """A location that was honest when it was loaded plans a run that takes another's pool, and makes its asset."""

    @dg.asset(key=["globex", "one"], pool="globex__gpu")
    def theirs() -> None: ...

    job: Any = dg.Definitions(assets=[theirs]).resolve_implicit_global_asset_job_def()
    snapshot = snapshot_from_execution_plan(create_execution_plan(job), job.get_job_snapshot_id())
    reply = pb.ExecutionPlanSnapshotReply(serialized_execution_plan_snapshot=serialize_value(snapshot))
    platform = start(ExecutionPlanSnapshot=answering(reply))
    selector = JobSubsetSelector("acme", "__repository__", "__ASSET_JOB", None)
    honest = platform.location.get_job(selector)
    with pytest.raises(ForeignNames, match=r"asset globex/one, pool globex__gpu"):
        platform.location.get_execution_plan(honest, {}, None, None, None)


def test_an_own_plan_is_taken(start: Start) -> None:
    job: Any = definitions("acme").resolve_implicit_global_asset_job_def()
    snapshot = snapshot_from_execution_plan(create_execution_plan(job), job.get_job_snapshot_id())
    reply = pb.ExecutionPlanSnapshotReply(serialized_execution_plan_snapshot=serialize_value(snapshot))
    platform = start(ExecutionPlanSnapshot=answering(reply))
    honest = platform.location.get_job(JobSubsetSelector("acme", "__repository__", "__ASSET_JOB", None))
    plan = platform.location.get_execution_plan(honest, {}, None, None, None)
    assert [step.key for step in plan.execution_plan_snapshot.steps] == ["acme__one"]


def test_a_location_that_the_platform_would_start_itself_is_refused(instance: dg.DagsterInstance) -> None:
    target = CheckedLocations(ModuleTarget("x", None, ".", "acme"), Tenants(), instance)
    with pytest.raises(LocationRefused, match="is no gRPC server"):
        target.create_origins()


def test_messages_are_bounded_where_nobody_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_GRPC_MAX_RX_BYTES", "7")
    bound_messages()
    assert os.environ["DAGSTER_GRPC_MAX_RX_BYTES"] == "7"
