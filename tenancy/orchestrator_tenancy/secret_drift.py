"""What of the Secrets that tenants were given is otherwise on the cluster, and what is left of who is gone."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubernetes import client  # type: ignore[import-untyped]

from orchestrator_cluster.api_answers import ASK_SECONDS, asking, items
from orchestrator_cluster.kube_configurations import configure
from orchestrator_tenancy.platform_files import Release
from orchestrator_tenancy.tenant_secrets import (
    MANAGED_BY,
    RELEASE,
    found_secrets,
    given_to_tenant,
    tenant_namespace,
)

Secret = Mapping[str, Any]

_OURS: Final = f"{MANAGED_BY[0]}={MANAGED_BY[1]}"


def secret_drifts(releases: Sequence[Release]) -> list[str]:
    """Return what is not as `hand_out` makes it, a line each, which tells no secret.

    Args:
        releases: All of the platform, the one that tenants share first.

    Raises:
        AgentError: `invalid_input` when a release's namespace lacks one.
        ClusterAway: The API server does not tell.
    """
    configure()
    core = client.CoreV1Api()
    there = _handed_out(core)
    found = [
        line
        for release in releases
        if release.values.get("tenants")
        for line in _otherwise(release, found_secrets(core, release), there)
    ]
    return [*found, *(f"{_named(one)}: is of no tenant" for one in left(releases, there))] + [
        f"release {name}: is of no tenant; when its database is not needed any more: helm uninstall {name}"
        for name in left_releases(releases, there)
    ]


def take_back(releases: Sequence[Release]) -> list[str]:
    """Delete Secrets of tenants that are gone, and return their names; releases of their own are the operator's to end.

    Raises:
        ClusterAway: The API server does not do it.
    """
    configure()
    core = client.CoreV1Api()
    gone = left(releases, _handed_out(core))
    for one in gone:
        with asking():
            metadata = one["metadata"]
            core.delete_namespaced_secret(
                metadata["name"], metadata["namespace"], _request_timeout=ASK_SECONDS
            )
    return [_named(one) for one in gone]


def left(releases: Sequence[Release], there: Sequence[Secret]) -> list[Secret]:
    """Return the Secrets that a release has given to a tenant that it has no more."""
    namespaces = {
        release.name: {
            release.namespace,
            *(tenant_namespace(release, tenant) for tenant in release.values.get("tenants") or {}),
        }
        for release in releases
    }
    return [
        one
        for one in there
        if _release(one) in namespaces and one["metadata"]["namespace"] not in namespaces[_release(one)]
    ]


def left_releases(releases: Sequence[Release], there: Sequence[Secret]) -> list[str]:
    """Return the releases that tenants had to themselves that are gone, by what these were given."""
    shared, known = f"{releases[0].name}-", {release.name for release in releases}

    def had_it_alone(one: Secret) -> bool:
        name = _release(one)
        tenant = name.removeprefix(shared)
        return tenant != name and one["metadata"]["namespace"] == f"{name}-{tenant}"

    return sorted({_release(one) for one in there if had_it_alone(one)} - known)


def _otherwise(release: Release, found: Mapping[str, Secret], there: Sequence[Secret]) -> list[str]:
    by_place = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in there}
    told = list[str]()
    for tenant in release.values["tenants"]:
        namespace = tenant_namespace(release, tenant)
        for wanted in given_to_tenant(release, tenant, found):
            name = wanted["metadata"]["name"]
            one = by_place.get((namespace, name))
            if one is None:
                told.append(f"Secret {namespace}/{name}: is not there, or not as `reconcile` made it")
            elif differing := sorted(_differing(wanted.get("data") or {}, one.get("data") or {})):
                told.append(f"Secret {namespace}/{name}: {', '.join(differing)} is another one")
    return told


def _differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> set[str]:
    return {key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)}


def _handed_out(core: Any) -> list[Secret]:
    return list(items(core.list_secret_for_all_namespaces, label_selector=_OURS))


def _release(one: Secret) -> str:
    return str((one["metadata"].get("labels") or {}).get(RELEASE, ""))


def _named(one: Secret) -> str:
    return f"Secret {one['metadata']['namespace']}/{one['metadata']['name']}"
