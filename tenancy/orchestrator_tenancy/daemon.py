"""`python -m orchestrator_tenancy.daemon`: Dagster's daemon over code locations that are looked at.

It is Dagster's own in all else. `dagster-daemon run` takes what locations tell as it comes.

Checked against Dagster 1.13.27; `tests/integration/test_tenant_daemon.py` fails when it moves.
"""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import sys

from dagster import DagsterInstance
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from orchestrator_tenancy.checked_locations import CheckedLocations, bound_messages
from orchestrator_tenancy.tenant_store import open_tenants


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tenancy.daemon", description=__doc__)
    parser.add_argument(
        "--workspace", required=True, help="file of the code locations: gRPC servers, as of Dagster"
    )
    options = parser.parse_args()
    bound_messages()
    setup_interrupt_handlers()
    try:
        with capture_interrupts(), DagsterInstance.get() as instance, open_tenants() as tenants:
            locations = CheckedLocations(WorkspaceFileTarget([options.workspace]), tenants, instance)
            with daemon_controller_from_instance(instance, workspace_load_target=locations) as controller:
                controller.check_daemon_loop()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
