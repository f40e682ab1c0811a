"""Secrets that a tenant's pods read: those beside the release, given to the tenant's namespace.

The chart makes none, and pods read those of their own namespace alone. An operator makes each once, beside the
release; of what is there, a tenant is given the entries that its pods are told to read, and no other. In place of the
gateway's secret it is given its own of it: a custom location's Python knows what its runs know.
"""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubernetes import client  # type: ignore[import-untyped]

from orchestrator_cluster.api_answers import ASK_SECONDS, answer, asking, status_of
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.kube_configurations import configure
from orchestrator_gateway.tokens import tenant_secret
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.platform_files import Release

_FOUND: Final = 409
_NOT_FOUND: Final = 404

RELEASE: Final = "app.kubernetes.io/instance"
"""Label of what was handed out: the release whose tenant got it."""
MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "orchestrator")
"""Label of all that was handed out."""

Wanted = dict[str, set[str] | None]
"""Keys of entries by the name of their Secret; None means all entries."""


def tenant_namespace(release: Release, tenant: str) -> str:
    """Return the namespace of one of a release's tenants."""
    namespace: str | None = release.values["tenants"][tenant].get("namespace")
    return namespace or f"{release.name}-{tenant}"


def wanted_secrets(values: Mapping[str, Any]) -> Wanted:
    """Return what a tenant's pods read, by the values of the chart."""
    postgresql: Mapping[str, Any] = values.get("postgresql") or {}
    entries = [
        (values.get("gateway") or {}).get("secret"),
        postgresql.get("passwordSecret"),
        postgresql.get("stateUrlSecret"),
    ]
    whole: list[str] = [
        *((values.get("runs") or {}).get("environmentSecrets") or ()),
        *(values.get("imagePullSecrets") or ()),
    ]
    wanted: Wanted = dict.fromkeys(whole)
    for entry in filter(None, entries):
        keys = wanted.setdefault(entry["name"], set())
        if keys is not None:
            keys.add(entry["key"])
    return wanted


def given(found: Mapping[str, Any], keys: set[str] | None, release: str) -> dict[str, Any]:
    """Return the Secret that a tenant is given of one that was found.

    Args:
        found: As the API server has it.
        keys: Of its entries; None for all.
        release: Whose tenant it is.

    Raises:
        AgentError: `invalid_input` when it has no such entry.
    """
    name, data = found["metadata"]["name"], found.get("data") or {}
    if missing := sorted((keys or set()) - data.keys()):
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the Secret {name!r} in {found['metadata']['namespace']} has no entry {missing[0]!r}, which the values"
            " name",
        )
    kept = {key: value for key, value in data.items() if keys is None or key in keys}
    return secret(name, release, kept, found.get("type", "Opaque"))


def given_to_tenant(
    release: Release, tenant: str, found: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the Secrets that a tenant of a release is given; none where its pods read those beside the release.

    Args:
        release: Whose tenant it is.
        tenant: Its name.
        found: What the release's namespace has of `wanted_secrets`, by name, as the API server has it.

    Raises:
        AgentError: `invalid_input` when an entry is not there, or no secret of a gateway.
    """
    if tenant_namespace(release, tenant) == release.namespace:
        return []
    made = {
        name: given(found[name], keys, release.name) for name, keys in wanted_secrets(release.values).items()
    }
    entry: Mapping[str, str] | None = (release.values.get("gateway") or {}).get("secret")
    if entry is not None:
        data = made[entry["name"]]["data"]
        try:
            gateways = base64.b64decode(data[entry["key"]], validate=True).decode().strip().encode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"the Secret {entry['name']!r} in {release.namespace}: {entry['key']!r} is no text, as a gateway's"
                " secret must be",
            ) from error
        data[entry["key"]] = base64.b64encode(tenant_secret(gateways, tenant)).decode()
    return list(made.values())


def secret(name: str, release: str, data: Mapping[str, str], kind: str = "Opaque") -> dict[str, Any]:
    """Return a Secret of a release as the API server takes it; `data` is in base64."""
    labels = {RELEASE: release, MANAGED_BY[0]: MANAGED_BY[1]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "type": kind,
        "data": dict(data),
    }


def hand_out(release: Release) -> None:
    """Give each tenant of a release the Secrets of its pods, as they are now; namespaces that Helm would make are made.

    Raises:
        AgentError: `invalid_input` when the release's namespace lacks one.
        ClusterAway: The API server does not do it.
    """
    tenants: Mapping[str, Any] = release.values.get("tenants") or {}
    if not tenants:
        return
    configure()
    core = client.CoreV1Api()
    found = found_secrets(core, release)
    for tenant, how in tenants.items():
        secrets = given_to_tenant(release, tenant, found)
        namespace = tenant_namespace(release, tenant)
        if how.get("createNamespace", True):
            _make_namespace(core, namespace, release)
        put_secrets(core, namespace, secrets)


def found_secrets(core: Any, release: Release) -> dict[str, Mapping[str, Any]]:
    """Return what a release's namespace has of `wanted_secrets`, by name, as the API server has it.

    Raises:
        AgentError: `invalid_input` when one is not there.
        ClusterAway: The API server does not tell.
    """
    return {name: _found(core, name, release) for name in wanted_secrets(release.values)}


def _found(core: Any, name: str, release: Release) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = answer(core.read_namespaced_secret, name, release.namespace)
    except ClusterAway as error:
        if status_of(error) == _NOT_FOUND:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"there is no Secret {name!r} in the namespace {release.namespace}: make it there, and every tenant"
                " gets its own",
            ) from error
        raise
    return found


def _make_namespace(core: Any, name: str, release: Release) -> None:
    """Make a namespace that Helm takes for its own, where there is none."""
    body = {
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "Helm",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
            "annotations": {
                "meta.helm.sh/release-name": release.name,
                "meta.helm.sh/release-namespace": release.namespace,
                "helm.sh/resource-policy": "keep",
            },
        }
    }
    _made(core.create_namespace, body)


def put_secrets(core: Any, namespace: str, secrets: Sequence[Mapping[str, Any]]) -> None:
    """Make Secrets in a namespace, or make those that are there be as they are told.

    Raises:
        ClusterAway: The API server does not do it.
    """
    for secret in secrets:
        if not _made(core.create_namespaced_secret, namespace, secret):
            with asking():
                core.replace_namespaced_secret(
                    secret["metadata"]["name"], namespace, secret, _request_timeout=ASK_SECONDS
                )


def _made(make: Any, *words: Any) -> bool:
    """Make an object, and return whether it was not there."""
    try:
        with asking():
            make(*words, _request_timeout=ASK_SECONDS)
    except ClusterAway as error:
        if status_of(error) == _FOUND:
            return False
        raise
    return True
