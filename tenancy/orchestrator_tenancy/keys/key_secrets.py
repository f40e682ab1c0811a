"""Keys of tenants as Secrets of a cluster: those of all for gateways, each tenant's own for its runs."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes import client  # type: ignore[import-untyped]

from orchestrator_cluster.kube_configurations import configure
from orchestrator_gateway.tenant_keys import written_keys
from orchestrator_tenancy.keys.handing_out import keys_of
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.platform_files import Release
from orchestrator_tenancy.tenant_secrets import put_secrets, secret, tenant_namespace


def key_secrets(release: Release, keys: TenantKeys) -> dict[str, dict[str, Any]]:
    """Return the Secrets with keys by the namespace that gets them; a tenant that has no key is given its first.

    Args:
        release: One whose values name `gateway.tenantKeysSecret`.
        keys: Of all tenants.
    """
    entry: Mapping[str, str] = release.values["gateway"]["tenantKeysSecret"]
    tenants: Mapping[str, Any] = release.values.get("tenants") or {}

    def of(names: Iterable[str]) -> dict[str, Any]:
        text = written_keys(keys_of(keys, names))
        data = {entry["key"]: base64.b64encode(text.encode()).decode()}
        return secret(entry["name"], release.name, data)

    own = {tenant_namespace(release, tenant): of([tenant]) for tenant in tenants}
    return {**own, release.namespace: of(tenants)}


def hand_out_keys(release: Release, keys: TenantKeys) -> None:
    """Give a release's gateway and its tenants their keys, as they are now.

    The namespaces are there: see `tenant_secrets.hand_out`.

    Raises:
        ClusterAway: The API server does not do it.
    """
    configure()
    core = client.CoreV1Api()
    for namespace, made in key_secrets(release, keys).items():
        put_secrets(core, namespace, [made])
