"""What a platform's parts are told: the instance, what locations may have, the gateway."""

from collections.abc import Mapping
from typing import Any, Final

from tests.e2e.images import FRAMEWORKS, REAL_MODEL

SCRIPTED_SECONDS: Final = {"quick": 0.1, "slow": 15, "slow_again": 15, "filling": 1, "smollm2": 0.5}
"""The scripted models, and how long each thinks."""

HOME: Final = "/opt/dagster"

CODE_SERVERS: Final = {
    "dependency_review": "reviews",
    **dict.fromkeys(
        (
            "trials",
            "unpullable",
            "not_pulled",
            "no_guests",
            "no_dagster",
            "starved",
            "too_big",
            "nowhere",
            "warm",
            "warm_too",
        ),
        "trials",
    ),
}
"""The code server of each location."""


def bindings(namespace: str, images: Mapping[str, str]) -> dict[str, Any]:
    """Return what each location may have; most cannot run for a reason."""
    guests = {name: images[name] for name in FRAMEWORKS}
    small = {"cpu": "20m", "memory": "800Mi"}
    usual = {
        "tenant": "acme",
        "namespace": namespace,
        "image": images["location"],
        "images": guests,
        "gateway_url": "http://gateway:8900",
        "run": small,
        "guest": small | {"memory": "1600Mi"},  # of n8n
    }
    return {
        "locations": {
            "dependency_review": usual,
            "trials": usual,
            "unpullable": usual | {"images": dict.fromkeys(guests, "localhost/not-there:1")},
            "not_pulled": usual | {"image": "localhost/not-there:2"},
            "no_guests": usual | {"images": dict.fromkeys(guests, images["gateway"])},
            "no_dagster": usual | {"image": images["gateway"]},
            "starved": usual | {"guest": small | {"memory": "8Mi"}},
            "too_big": usual | {"guest": small | {"cpu": "900"}},
            "nowhere": usual | {"node_selector": {"pool": "not-there"}},
            "warm": usual | {"warm": {"size": 1}},
            "warm_too": usual | {"warm": {"size": 1}, "tenant": "other"},
        }
    }


def instance(locations: Mapping[str, Any]) -> dict[str, Any]:
    """Return `dagster.yaml`; `locations` is what `bindings` returns."""
    launcher = {
        "service_account_name": "default",
        "instance_config_map": "instance",
        "dagster_home": HOME,
        "env_secrets": ["run-environment"],
        "bindings": dict(locations),
    }
    return {
        "storage": {
            "custom": {
                "module": "orchestrator_cluster.patient_storage",
                "class": "PatientPostgresStorage",
                "config": {"postgres_url": {"env": "DAGSTER_PG_URL"}},
            }
        },
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        },
        "run_launcher": {
            "module": "orchestrator_cluster.run_launcher",
            "class": "AgentRunLauncher",
            "config": launcher,
        },
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 10},
        "run_retries": {"enabled": True},
        "local_artifact_storage": {
            "module": "dagster.core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": "/tmp/dagster"},
        },
        "compute_logs": {
            "module": "dagster.core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "telemetry": {"enabled": False},
    }


def gateway() -> dict[str, Any]:
    """Return `gateway.yaml`."""
    upstreams: dict[str, Any] = {
        name: {"base_url": f"http://scripted:8080/m/{name}/v1"} for name in SCRIPTED_SECONDS
    }
    if REAL_MODEL:
        upstreams["smollm2"] = {"base_url": "http://model:8080/v1", "api_key": {"env": "MODEL_KEY"}}
    return {
        "secret": {"env": "GATEWAY_SECRET"},
        "journal": {"postgresql": {"env": "JOURNAL_URL"}, "limits": {"patience_seconds": 60}},
        "upstreams": upstreams,
        "models": {name: {"targets": [{"upstream": name, "model": name}]} for name in upstreams},
    }
