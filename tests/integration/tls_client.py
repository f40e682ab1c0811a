"""A process that asks a code server by TLS, as web server and daemon do: gRPC reads the authorities once in a process.

Its words are the port, the name of the location and whether to use TLS; it prints what it got as JSON.
"""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import json
import sys
from typing import Any

from dagster import DagsterInstance
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient

from orchestrator_tenancy.checked_locations import CheckedLocations
from orchestrator_tenancy.tenants import Tenancy, read_tenancy


class Tenants:
    """Acme has the location `acme`."""

    def tenancy(self) -> Tenancy:
        """Return it."""
        custom = {"kind": "custom", "image": "acme:1", "module": "acme_definitions"}
        acme = {"organisation": "all", "plan": "team", "locations": {"acme": custom}}
        return read_tenancy(
            {
                "organisations": {"all": {"title": "All"}},
                "plans": {"team": {"custom_locations": True}},
                "tenants": {"acme": acme},
            }
        )


def told(host: str, port: int, name: str, secure: bool) -> dict[str, Any]:
    """Return what a code server says, in each way that Dagster asks it."""
    client = DagsterGrpcClient(port=port, host=host, use_ssl=secure)
    with DagsterInstance.get() as instance:
        plain = GrpcServerTarget(host=host, port=port, socket=None, location_name=name, use_ssl=secure)
        checked = CheckedLocations(plain, Tenants(), instance)
        with WorkspaceProcessContext(instance, checked) as process:
            context = process.create_request_context()
            location = context.get_code_location(name)
            selector = JobSubsetSelector(name, "__repository__", "acme__make", None)
            job = location.get_job(selector)
            part = JobSubsetSelector(name, "__repository__", "acme__make", ["acme__one"])
            plan = location.get_execution_plan(job, {}, None, None, None)
            return {
                "ping": client.ping("hello")["echo"],
                "asynchronously": asyncio.run(location.gen_subset_job(part, lambda _selector: job)).name,
                "steps": plan.execution_plan_snapshot.step_keys_to_execute,
                "stream": [one["echo"] for one in client.streaming_ping(3, "a")],
            }


def main() -> int:
    """Ask, and print what came or why nothing did."""
    host, port, name, secure = sys.argv[1:]
    try:
        DagsterGrpcClient(port=int(port), host=host, use_ssl=secure == "tls").ping("")
    except DagsterUserCodeUnreachableError as error:
        print(json.dumps({"unreachable": f"{error} {error.__cause__}"}))
        return 0
    print(json.dumps(told(host, int(port), name, secure == "tls")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
