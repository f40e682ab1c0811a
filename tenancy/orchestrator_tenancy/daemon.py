"""Seam with Dagster: `orchestrator daemon`, its daemons over the tenants' locations. Checked against Dagster 1.13.27.

In place of `dagster-daemon run`: what locations tell is looked at, what waits starts in the order of the fair queue,
and one daemon works at a time. `tests/integration/test_tenant_daemon.py` fails when Dagster moves.
"""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import threading

from dagster import DagsterInstance
from dagster._cli.workspace.cli_target import workspace_opts_to_load_target
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers
from dagster_shared.cli import WorkspaceOpts

from orchestrator_tenancy.checked_locations import CheckedLocations, bound_messages
from orchestrator_tenancy.queue.seam_daemon import daemons, fair_coordinator
from orchestrator_tenancy.tenant_store import open_tenants


def serve(workspace: WorkspaceOpts, log_level: str) -> None:
    """Run all daemons of the instance of DAGSTER_HOME until SIGINT or SIGTERM.

    Args:
        workspace: Where the code locations are: gRPC servers, each of a tenant; others have an error of their own.
        log_level: Least level that is told.

    Raises:
        NoFairQueue: The instance has another run coordinator.
        LocationRefused: The workspace has a location that this process would have to start itself.
        AgentError: `invalid_input` when it is not said where tenants are.
    """
    bound_messages()
    setup_interrupt_handlers()
    with (
        capture_interrupts(),
        contextlib.suppress(KeyboardInterrupt),
        DagsterInstance.get() as instance,
        open_tenants() as tenants,
    ):
        fair_coordinator(instance).use(tenants)
        _be_the_only_one(instance)
        locations = CheckedLocations(workspace_opts_to_load_target(workspace), tenants, instance)
        with daemon_controller_from_instance(
            instance,
            workspace_load_target=locations,
            gen_daemons=daemons,
            log_level=log_level,
            code_server_log_level="warning",
        ) as controller:
            controller.check_daemon_loop()


def _be_the_only_one(instance: DagsterInstance) -> None:
    """Wait until no other daemon works for an instance in PostgreSQL; in files there is one machine, and no lock."""
    url: str | None = getattr(instance.run_storage, "postgres_url", None)
    if url is not None:
        from orchestrator_cluster.one_daemon import end_without, locked

        threading.Thread(target=end_without, args=(locked(url),), name="lock", daemon=True).start()
