"""The pod of a run: pure functions from what its agents need and its location may have to parts of a manifest.

The container `dagster` runs the step, and beside it stands one native sidecar for each runtime: the guest server, in
the framework's own image, without any secret. Each shares a folder in memory with the run, and nothing with another.
Where the gateway speaks TLS, one more carries what guests say to it: they hold no authority that could verify it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from orchestrator_cluster.bindings import GpuType, LocationBinding, Resources, SecretEntry, Toleration
from orchestrator_cluster.lost_pods import RELAY_CONTAINER
from orchestrator_resources.agent_needs import AgentNeed
from orchestrator_resources.external_gateway import CA_FILE, GUESTS_URL
from orchestrator_resources.gpus import GpuRequest
from orchestrator_resources.sealed_texts import KEYS_FILE
from orchestrator_runtimes.guest_server_messages import server_name

GUESTS: Final = "/guests"
"""A guest server's own folder in its container; in that of the run, what holds them all by the servers' names."""

RUN_USER: Final = 10_001
GUEST_USER: Final = 10_002
"""Of the first guest server; the next ones are users of their own."""
_GROUP: Final = 10_000
"""Of the shared folders, so that both users may use their sockets."""

CA: Final = "/etc/orchestrator-ca"
"""Folder of what verifies gateway and database; the chart names it in the address of the database."""
_CA_FILE: Final = f"{CA}/ca.crt"

_KEYS: Final = "/run/secrets/orchestrator-keys"
_SOCKETS_SIZE: Final = "1Mi"
_SCRATCH_SIZE: Final = "1Gi"
_GRACE_SECONDS: Final = 15
_RELAY: Final = Resources(cpu="20m", memory="256Mi")

Manifest = dict[str, Any]


class Refused(ValueError):
    """A run asks for more than its location may have; the text says for what, and who can change it."""


@dataclass(frozen=True, kw_only=True)
class RunPod:
    """Parts of a run's pod, as `dagster-k8s` takes them.

    Attributes:
        container: Of the container that runs Dagster.
        pod: Of the pod.
        labels: Of the pod.
    """

    container: Manifest
    pod: Manifest
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def run_pod(
    needs: Sequence[AgentNeed],
    binding: LocationBinding,
    gpus: Sequence[GpuType],
    named: str | None = None,
    *,
    plain: Mapping[str, str],
) -> RunPod:
    """Return the pod of a run.

    Args:
        needs: Of its agents.
        binding: What its location may have.
        gpus: Kinds of GPUs of the cluster.
        named: The image that the location's code server names as its own; None where it names none.
        plain: Digest of the lock that each framework comes with, which its plain image is made of.

    Raises:
        Refused: It asks for more, or for an image that the location does not have.
    """
    needs = _one_for_each_environment(needs)
    chosen = {need: _gpu_type(need, binding, gpus) for need in needs if need.gpu is not None}
    wanted = sum(need.gpu.count for need in needs if need.gpu is not None)
    if wanted > binding.max_gpus:
        raise Refused(
            f"the run's agents ask for {wanted} GPUs together, and the location may have {binding.max_gpus}:"
            " ask the operator for more, or run fewer of them at once"
        )
    selector, tolerations = dict(binding.node_selector), list(binding.tolerations)
    for gpu in chosen.values():
        if any(selector.get(label, value) != value for label, value in gpu.node_selector.items()):
            raise Refused(
                f"GPUs of the kind {gpu.name!r} are on other nodes than the location's, or than those of another agent"
                " of the run: run these agents in runs of their own, or ask the operator"
            )
        selector |= gpu.node_selector
        tolerations += gpu.tolerations
    keys, ca, relayed = binding.tenant_keys_secret, binding.ca_config_map, binding.relayed_port
    image = binding.image or _own_image(binding, named)
    return RunPod(
        container={
            "image": image,
            "env": [
                {"name": "ORCHESTRATOR_GUESTS", "value": GUESTS},
                {"name": "ORCHESTRATOR_TENANT", "value": binding.tenant},
                *(
                    []
                    if binding.gateway_url is None
                    else [{"name": "ORCHESTRATOR_GATEWAY_URL", "value": binding.gateway_url}]
                ),
                *([] if ca is None else [{"name": CA_FILE, "value": _CA_FILE}]),
                *([] if relayed is None else [{"name": GUESTS_URL, "value": f"http://127.0.0.1:{relayed}"}]),
                *([] if keys is None else [{"name": KEYS_FILE, "value": f"{_KEYS}/{keys.key}"}]),
                _no_gpu(),
            ],
            "resources": _resources(binding.run),
            "securityContext": _restricted(RUN_USER),
            "volumeMounts": [
                _mount("run-scratch", "/tmp"),
                *([] if ca is None else [_read_only("ca", CA)]),
                *([] if keys is None else [_read_only("tenant-keys", _KEYS)]),
                *(_mount(_guests(number), f"{GUESTS}/{_server(need)}") for number, need in enumerate(needs)),
            ],
        },
        pod={
            "serviceAccountName": binding.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": _GROUP,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "initContainers": [
                *([_relay(image, binding)] if needs and relayed is not None else []),
                *(
                    _guest_server(number, need, binding, chosen.get(need), plain)
                    for number, need in enumerate(needs)
                ),
            ],
            "volumes": [
                _disk("run-scratch"),
                *([] if ca is None else [{"name": "ca", "configMap": {"name": ca}}]),
                *([] if keys is None else [_secret("tenant-keys", keys)]),
                *(_memory(_guests(number)) for number in range(len(needs))),
                *(_disk(f"scratch-{number}") for number in range(len(needs))),
            ],
            "nodeSelector": selector,
            "tolerations": [_toleration(toleration) for toleration in dict.fromkeys(tolerations)],
            **({} if binding.priority_class is None else {"priorityClassName": binding.priority_class}),
        },
        labels={"orchestrator/tenant": binding.tenant},
    )


def _own_image(binding: LocationBinding, named: str | None) -> str:
    """Return the image that a code server names, if it is one of the location's."""
    if named is None:
        raise Refused(
            "the location's code server names no image: set DAGSTER_CURRENT_IMAGE there, or have the operator bind one"
        )
    if not binding.takes_image(named):
        raise Refused(
            f"the location's code server names the image {named[:200]!r}, and the location may have those of"
            f" {', '.join(binding.repositories)}: push it there, or ask the operator"
        )
    return named


def _one_for_each_environment(needs: Sequence[AgentNeed]) -> list[AgentNeed]:
    """Return one need for each guest server: agents of one environment share it, and the GPUs that it has."""
    together: dict[tuple[str, str], AgentNeed] = {}
    for need in needs:
        key = need.framework, need.environment
        other = together.get(key, need)
        together[key] = replace(need, gpu=_both(other.gpu, need.gpu))
    return list(together.values())


def _both(one: GpuRequest | None, other: GpuRequest | None) -> GpuRequest | None:
    """Return the least that is enough for either of two agents."""
    if one is None or other is None:
        return one or other
    if None not in (one.type, other.type) and one.type != other.type:
        raise Refused(
            f"two agents of one environment ask for GPUs of the kinds {one.type!r} and {other.type!r}: run them in runs"
            " of their own"
        )
    memory = max(one.memory_mb or 0, other.memory_mb or 0) or None
    return GpuRequest(count=max(one.count, other.count), type=one.type or other.type, memory_mb=memory)


def _guest_server(
    number: int, need: AgentNeed, binding: LocationBinding, gpu: GpuType | None, plain: Mapping[str, str]
) -> Manifest:
    """Return the sidecar of a runtime.

    It has no probe, so all start at once, beside the run's own container, which waits for the socket where it needs it.
    """
    image = binding.images.get(need.environment)
    if image is None and need.environment == plain.get(need.framework):
        image = binding.images.get(need.framework)
    if image is None:
        there = ", ".join(sorted(binding.images)) or "none"
        raise Refused(
            f"the location has no image for {need.framework} with the environment {need.environment[:12]};"
            f" there are {there}: build it with `orchestrator images build`, and have the operator bind it"
        )
    resources = _resources(binding.guest)
    if gpu is not None and need.gpu is not None:
        for part in ("requests", "limits"):
            resources[part][gpu.resource] = str(need.gpu.count)
    command = [
        "python",
        "-P",
        "-s",  # nothing that a guest wrote is imported when the container starts again
        "-m",
        "orchestrator_runtimes.guest_server",
        "--framework",
        need.framework,
        "--folder",
        GUESTS,
    ]
    if binding.gateway_port is not None:
        command += ["--gateway-port", str(binding.gateway_port)]
    return {
        "name": f"guests-{number}-{need.framework}",
        "image": image,
        "restartPolicy": "Always",
        "command": command,
        # its last words, such as that a node cannot lock it, become a part of why the run failed
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources,
        **({"env": [_no_gpu()]} if gpu is None else {}),
        "securityContext": _restricted(GUEST_USER + number),
        "volumeMounts": [_mount(_guests(number), GUESTS), _mount(f"scratch-{number}", "/tmp")],
    }


def _relay(image: str, binding: LocationBinding) -> Manifest:
    """Return the sidecar by which guests reach a gateway that speaks TLS.

    It is the first, so no guest could take its place, and of its own: steps are processes that come and go, several at
    once, and all guests of a run call by one port.
    """
    ca = binding.ca_config_map is not None
    return {
        "name": RELAY_CONTAINER,
        "image": image,
        "restartPolicy": "Always",
        "command": [
            "python",
            "-m",
            "orchestrator_resources.gateway_relay",
            f"--gateway={binding.gateway_url}",
            *([f"--ca={_CA_FILE}"] if ca else []),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(_RELAY),
        "env": [_no_gpu()],
        "securityContext": _restricted(RUN_USER),
        "volumeMounts": [_read_only("ca", CA)] if ca else [],
    }


def _gpu_type(need: AgentNeed, binding: LocationBinding, gpus: Sequence[GpuType]) -> GpuType:
    """Return the smallest kind of GPU that is enough for an agent."""
    assert need.gpu is not None
    request = need.gpu
    allowed = [gpu for gpu in gpus if gpu.name in binding.gpu_types]
    fitting = [gpu for gpu in allowed if request.takes(gpu.name, gpu.memory_mb)]
    if not fitting:
        has = ", ".join(f"{gpu.name} with {gpu.memory_mb} MiB" for gpu in allowed) or "none"
        raise Refused(
            f"an agent asks for a GPU {request.type or 'of any type'} with {request.memory_mb or 'any'} MiB, and the"
            f" location may have {has}: change `gpu`, or ask the operator"
        )
    return min(fitting, key=lambda gpu: gpu.memory_mb)


def _server(need: AgentNeed) -> str:
    return server_name(need.framework, need.environment)


def _guests(number: int) -> str:
    """Return the volume of a guest server's socket: its own, or one server could take or fill another's place."""
    return f"guests-{number}"


def _resources(given: Resources) -> Manifest:
    return {
        "requests": {"cpu": given.cpu, "memory": given.memory},
        "limits": {"memory": given.memory},  # a limit of CPU would slow down what nobody else needs
    }


def _no_gpu() -> Manifest:
    """Return the variable of a container without GPUs: where its image says `all`, it would have all of the node."""
    return {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}


def _restricted(user: int) -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _mount(name: str, path: str) -> Manifest:
    return {"name": name, "mountPath": path}


def _memory(name: str) -> Manifest:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": _SOCKETS_SIZE}}


def _read_only(name: str, path: str) -> Manifest:
    return {**_mount(name, path), "readOnly": True}


def _disk(name: str) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": _SCRATCH_SIZE}}


def _secret(name: str, entry: SecretEntry) -> Manifest:
    """Return a volume that is replaced when the Secret is."""
    items = [{"key": entry.key, "path": entry.key}]
    return {"name": name, "secret": {"secretName": entry.name, "defaultMode": 0o440, "items": items}}


def _toleration(toleration: Toleration) -> Manifest:
    return toleration.model_dump(exclude_none=True)
