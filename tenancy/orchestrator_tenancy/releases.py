"""Helm does what a release says, and the API server tells what there is."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml
from kubernetes import client  # type: ignore[import-untyped]
from kubernetes.dynamic import DynamicClient  # type: ignore[import-untyped]
from kubernetes.dynamic.exceptions import ResourceNotFoundError  # type: ignore[import-untyped]

from orchestrator_cluster.api_answers import ASK_SECONDS, asking, status_of
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.kube_configurations import configure
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.drift import Drift, Manifest, drift
from orchestrator_tenancy.platform_files import Release

WAIT_SECONDS: Final = 600
"""How long all pods of a release may take until they serve."""

_NOT_FOUND: Final = 404
_WORDS: Final = 1_000


def install(release: Release) -> None:
    """Make everything as a release says, and what others changed on the cluster, too; wait until it serves.

    Raises:
        AgentError: `invalid_input` when Helm does not do it; the text is Helm's.
    """
    words = [
        "upgrade",
        release.name,
        release.chart,
        "--install",
        "--create-namespace",
        "--values=-",
        "--wait",
    ]
    words += [f"--namespace={release.namespace}", f"--timeout={WAIT_SECONDS}s", "--force-conflicts"]
    _helm(words, release.values, WAIT_SECONDS + 60)


def drifts(release: Release) -> list[Drift]:
    """Return what is not as a release says.

    Raises:
        AgentError: `invalid_input` when Helm cannot render it.
        ClusterAway: The API server does not tell.
    """
    words = ["template", release.name, release.chart, "--values=-", "--dry-run=server", "--is-upgrade"]
    words += [f"--namespace={release.namespace}", "--no-hooks"]
    rendered = _helm(words, release.values, ASK_SECONDS * 4)
    manifests: list[Manifest] = [one for one in yaml.safe_load_all(rendered) if one]
    configure()
    with asking():
        api = DynamicClient(client.ApiClient())
    return [one for manifest in manifests for one in drift(manifest, _found(api, manifest))]


def _found(api: DynamicClient, manifest: Manifest) -> Manifest | None:
    metadata = manifest["metadata"]
    try:
        with asking():
            kind = api.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
            one = kind.get(
                name=metadata["name"], namespace=metadata.get("namespace"), _request_timeout=ASK_SECONDS
            )
    except ResourceNotFoundError:
        return None
    except ClusterAway as error:
        if status_of(error) == _NOT_FOUND:
            return None
        raise
    told: Manifest = one.to_dict()
    return told


def _helm(words: Sequence[str], values: Mapping[str, Any], seconds: float) -> str:
    try:
        done = subprocess.run(
            ["helm", *words],
            input=json.dumps(values),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise AgentError(
            ErrorCode.INVALID_INPUT, "there is no helm in PATH: install Helm 4, which makes what tenants have"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise AgentError(
            ErrorCode.TIMEOUT, f"helm {words[0]} {words[1]} took longer than {seconds:.0f} s"
        ) from error
    if done.returncode != 0:
        told = " ".join(done.stderr.split())[-_WORDS:]
        raise AgentError(ErrorCode.INVALID_INPUT, f"helm {words[0]} {words[1]}: {told}")
    return done.stdout
