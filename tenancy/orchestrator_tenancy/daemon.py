"""Seam with Dagster: `orchestrator daemon`, its daemons over the tenants' locations. Checked against Dagster 1.13.27.

In place of `dagster-daemon run`: what locations tell is looked at, what waits starts in the order of the fair queue,
and one daemon works at a time. `tests/integration/test_tenant_daemon.py` fails when Dagster moves.
"""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import functools
import threading
from collections.abc import Sequence

from dagster import DagsterInstance
from dagster._cli.workspace.cli_target import workspace_opts_to_load_target
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers
from dagster_shared.cli import WorkspaceOpts

from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_sensors.event_followers import EventFollower
from orchestrator_tenancy.checked_locations import CheckedLocations, bound_messages
from orchestrator_tenancy.queue.seam_daemon import daemons, fair_coordinator
from orchestrator_tenancy.queue.seam_sensors import InstanceCursors, WokenSensorDaemon
from orchestrator_tenancy.tenant_store import open_tenants


def serve(workspace: WorkspaceOpts, log_level: str, marketplaces: Sequence[str] = ()) -> None:
    """Run all daemons of the instance of DAGSTER_HOME until SIGINT or SIGTERM.

    Args:
        workspace: Where the code locations are: gRPC servers, each of a tenant; others have an error of their own.
        log_level: Least level that is told.
        marketplaces: Addresses of those whose events let sensors look at once. An operator names them: a tenant's own
            would let a tenant choose whom this process speaks to.

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
        ended = threading.Event()

        def follow(sensors: WokenSensorDaemon) -> None:
            for url in marketplaces:
                follower = EventFollower(url, HttpMarketplace(url), InstanceCursors(instance), sensors.wake)
                # a daemon: what it waits for does not keep the process
                threading.Thread(target=follower.run_until, args=(ended,), name=url, daemon=True).start()

        locations = CheckedLocations(workspace_opts_to_load_target(workspace), tenants, instance)
        with daemon_controller_from_instance(
            instance,
            workspace_load_target=locations,
            gen_daemons=functools.partial(daemons, follow=follow),
            log_level=log_level,
            code_server_log_level="warning",
        ) as controller:
            try:
                controller.check_daemon_loop()
            finally:
                ended.set()


def _be_the_only_one(instance: DagsterInstance) -> None:
    """Wait until no other daemon works for an instance in PostgreSQL; in files there is one machine, and no lock."""
    url: str | None = getattr(instance.run_storage, "postgres_url", None)
    if url is not None:
        from orchestrator_cluster.one_daemon import end_without, locked

        threading.Thread(target=end_without, args=(locked(url),), name="lock", daemon=True).start()
