"""Code servers that answer what a test says: of definitions, or of no good will."""
# gRPC and Dagster's generated code are not typed:
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg
import grpc  # type: ignore[import-untyped]
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.external_data import JobDataSnap, RepositorySnap
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._grpc.__generated__ import dagster_api_pb2 as pb
from dagster._grpc.__generated__.dagster_api_pb2_grpc import (
    DagsterApiServicer,
    add_DagsterApiServicer_to_server,
)
from dagster._grpc.types import ListRepositoriesResponse, LoadableRepositorySymbol
from dagster._serdes import serialize_value

Lie: TypeAlias = Callable[["CodeServer", Any], Any]


@dataclass
class CodeServer(DagsterApiServicer):
    """Answers for definitions; `lies` answer in place of them, by the name of the call.

    Attributes:
        definitions: What it serves.
        lies: Each gets the request, and returns the answer, or raises, or does not end.
        asked: Names of the calls that came.
        over: Set when the test is over, for lies that hang.
    """

    definitions: dg.Definitions
    lies: Mapping[str, Lie] = field(default_factory=dict[str, Lie])
    asked: list[str] = field(default_factory=list[str])
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def _answer(self, name: str, request: Any, honest: Callable[[], Any]) -> Any:
        self.asked.append(name)
        lie = self.lies.get(name)
        return honest() if lie is None else lie(self, request)

    @property
    def repository(self) -> Any:
        return self.definitions.get_repository_def()

    def ListRepositories(self, request: Any, context: Any) -> Any:  # noqa: N802
        def honest() -> Any:
            told = ListRepositoriesResponse(
                repository_symbols=[
                    LoadableRepositorySymbol(repository_name="__repository__", attribute="defs")
                ],
                executable_path="python",
                repository_code_pointer_dict={"__repository__": ModuleCodePointer("theirs", "defs")},
                entry_point=["dagster"],
                container_image="theirs:1",
                dagster_library_versions={},
            )
            return pb.ListRepositoriesReply(
                serialized_list_repositories_response_or_error=serialize_value(told)
            )

        return self._answer("ListRepositories", request, honest)

    def GetServerId(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer(
            "GetServerId", request, lambda: pb.GetServerIdReply(server_id=f"server-{id(self)}")
        )

    def ExternalRepository(self, request: Any, context: Any) -> Any:  # noqa: N802
        def honest() -> Any:
            snap = RepositorySnap.from_def(self.repository, defer_snapshots=True)
            return pb.ExternalRepositoryReply(serialized_external_repository_data=serialize_value(snap))

        return self._answer("ExternalRepository", request, honest)

    def ExternalJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        def honest() -> Any:
            job = JobDataSnap.from_job_def(
                self.repository.get_job(request.job_name), include_parent_snapshot=True
            )
            return pb.ExternalJobReply(serialized_job_data=serialize_value(job))

        return self._answer("ExternalJob", request, honest)

    def ExternalSensorExecution(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        yield from self._answer("ExternalSensorExecution", request, lambda: in_chunks(SensorExecutionData()))

    def ExternalScheduleExecution(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        yield from self._answer("ExternalScheduleExecution", request, lambda: iter(()))

    def ExecutionPlanSnapshot(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ExecutionPlanSnapshot", request, pb.ExecutionPlanSnapshotReply)

    def ExternalPipelineSubsetSnapshot(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ExternalPipelineSubsetSnapshot", request, lambda: None)

    def ReloadCode(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ReloadCode", request, pb.ReloadCodeReply)


def sensor_told(**wanted: Any) -> SensorExecutionData:
    """Return what a sensor wants."""
    return SensorExecutionData(**wanted)


def telling(told: SensorExecutionData) -> Lie:
    """Return a sensor that wants this at each tick."""

    def lie(server: CodeServer, request: Any) -> Any:
        return in_chunks(told)

    return lie


def answering(reply: Any) -> Lie:
    """Return what always gives this answer."""

    def lie(server: CodeServer, request: Any) -> Any:
        return reply

    return lie


def in_chunks(value: Any) -> Iterator[Any]:
    yield pb.StreamingChunkEvent(sequence_number=0, serialized_chunk=serialize_value(value))


@contextlib.contextmanager
def serving(server: CodeServer) -> Generator[CodeServer]:
    """Serve until the end of the block, on a port of its own."""
    grpc_server = grpc.server(
        ThreadPoolExecutor(max_workers=8), options=[("grpc.max_send_message_length", -1)]
    )
    add_DagsterApiServicer_to_server(server, grpc_server)  # type: ignore[no-untyped-call]
    server.port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    try:
        yield server
    finally:
        server.over.set()
        grpc_server.stop(grace=None).wait()


def origin_at(port: int, name: str) -> GrpcServerCodeLocationOrigin:
    """Return where the code server of a location is, on this machine."""
    return GrpcServerCodeLocationOrigin(host="127.0.0.1", port=port, location_name=name)


class Ports(WorkspaceLoadTarget):
    """A workspace of the code servers at these ports, by the names of their locations."""

    def __init__(self, servers: Mapping[str, int]) -> None:
        self.servers = servers

    def create_origins(self) -> Iterable[Any]:  # type: ignore[override]
        return [origin_at(port, name) for name, port in self.servers.items()]
