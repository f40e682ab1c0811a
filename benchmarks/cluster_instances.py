"""`dagster.yaml` of the chart, changed for a trial: simulated runs, runs that stock Dagster launches."""

import copy
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.fake_nodes import LABEL, TAINT

Instance = dict[str, Any]

_RESTRICTED: Final = {
    "allow_privilege_escalation": False,
    "capabilities": {"drop": ["ALL"]},
    "run_as_non_root": True,
    "run_as_user": 10_001,
    "seccomp_profile": {"type": "RuntimeDefault"},
}
"""What the namespace asks of every pod."""
_SCRATCH: Final = "scratch"


def limited(instance: Mapping[str, Any], limit: int) -> Instance:
    """Return an instance with at most `limit` runs at once."""
    changed = copy.deepcopy(dict(instance))
    changed["concurrency"]["runs"]["max_concurrent_runs"] = limit
    return changed


def simulated(instance: Mapping[str, Any], selector: Mapping[str, str]) -> Instance:
    """Return an instance whose runs are on the nodes with labels, which no kubelet serves."""
    changed = copy.deepcopy(dict(instance))
    config = changed["run_launcher"]["config"]
    config["labels"] = {LABEL: "true"}
    for location in config["bindings"]["locations"].values():
        location["node_selector"] = dict(selector)
        location["tolerations"] = [{"key": TAINT, "effect": "NoSchedule"}]
    return changed


def stock(instance: Mapping[str, Any], location: str) -> Instance:
    """Return an instance that launches runs as Dagster does by itself: its launcher, its queue, their defaults.

    Pods get the image, resources, nodes and variables that those of the location had; guests they have none.
    """
    changed = copy.deepcopy(dict(instance))
    changed["run_coordinator"] = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}
    ours = changed["run_launcher"]["config"]
    binding = ours.pop("bindings")["locations"][location]
    tolerations = [{"operator": "Exists", **each} for each in binding.get("tolerations", ())]
    given = ours.setdefault("run_k8s_config", {})
    container, job = given.get("container_config", {}), given.get("job_spec_config", {})
    resources = binding["run"]
    changed["run_launcher"] = {
        "module": "dagster_k8s",
        "class": "K8sRunLauncher",
        "config": ours
        | {
            "job_namespace": binding["namespace"],
            "job_image": binding["image"],
            "run_k8s_config": {
                "container_config": {
                    "env": container.get("env", []),
                    "security_context": _RESTRICTED,
                    "resources": {"requests": resources, "limits": {"memory": resources["memory"]}},
                    "volume_mounts": [{"name": _SCRATCH, "mount_path": "/tmp"}],
                },
                "pod_spec_config": {
                    "node_selector": binding.get("node_selector", {}),
                    "tolerations": tolerations,
                    "automount_service_account_token": False,
                    "volumes": [{"name": _SCRATCH, "empty_dir": {}}],
                },
                "job_spec_config": job,
            },
        },
    }
    return changed
