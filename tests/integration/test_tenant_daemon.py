"""The daemon over locations of two tenants, one of which lies: what it does with the platform's rights."""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_tenancy.tenant_store import open_tenants
from tests.integration.command_lines import BIN
from tests.integration.hostile_code_servers import CodeServer, Lie, sensor_told, serving, telling
from tests.integration.processes import wait_until

REFUSED = "not of the tenant 'acme': dynamic partitions globex__customers"
INSTANCE = """
telemetry: {enabled: false}
run_coordinator:
  module: orchestrator_tenancy.queue.seam_coordinator
  class: FairRunCoordinator
"""
CUSTOM = {"kind": "custom", "image": "theirs:1", "module": "theirs"}
TENANTS: dict[str, Any] = {
    "organisations": {"all": {"title": "All"}},
    "tenants": {
        name: {"organisation": "all", "plan": "enterprise", "locations": {name: CUSTOM}}
        for name in ("acme", "globex")
    },
}


def definitions(tenant: str) -> dg.Definitions:
    @dg.asset(key=[tenant, "one"])
    def one() -> None: ...

    @dg.sensor(
        name=f"{tenant}__sensor",
        asset_selection=[dg.AssetKey([tenant, "one"])],
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=1,
    )
    def sensor() -> None: ...

    return dg.Definitions(assets=[one], sensors=[sensor])


def adding(key: str) -> Lie:
    """Tell that a partition of globex is to be added."""
    told = sensor_told(
        dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest("globex__customers", [key])]
    )
    return telling(told)


def test_the_daemon_adds_partitions_for_whose_they_are_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(INSTANCE)
    with open_tenants() as tenants:
        tenants.change(lambda written: written.update(TENANTS))
    liar = CodeServer(definitions("acme"), {"ExternalSensorExecution": adding("of acme")})
    honest = CodeServer(definitions("globex"), {"ExternalSensorExecution": adding("of globex")})
    with serving(liar), serving(honest), dg.DagsterInstance.get() as instance:
        servers = [
            f"  - grpc_server: {{host: 127.0.0.1, port: {server.port}, location_name: {name}}}\n"
            for name, server in (("acme", liar), ("globex", honest))
        ]
        (tmp_path / "workspace.yaml").write_text("load_from:\n" + "".join(servers))
        command = [str(BIN / "orchestrator"), "daemon", "--workspace", "workspace.yaml"]
        log = (tmp_path / "log").open("w+")
        daemon = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env={**os.environ})
        try:
            wait_until(lambda: "ExternalSensorExecution" in liar.asked, "the liar's sensor is asked")
            wait_until(
                lambda: instance.get_dynamic_partitions("globex__customers") != [], "globex has its partition"
            )
            wait_until(
                lambda: (
                    "not of the tenant 'acme': dynamic partitions globex__customers"
                    in (tmp_path / "log").read_text()
                ),
                "the daemon says why it refuses",
            )
            assert instance.get_dynamic_partitions("globex__customers") == ["of globex"]
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
            log.close()
    assert daemon.returncode == 0
