"""What NetworkPolicies allow, decided from their text as Kubernetes defines it."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.helm.charts import NAMESPACE, RELEASE, Manifest


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a call.

    Attributes:
        namespace: Of the pod; empty for what is no pod.
        labels: Of the pod.
        address: Of what is no pod.
        ports: Numbers of the pod's ports, by name.
    """

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict[str, int])


def component(
    name: str,
    namespace: str = NAMESPACE,
    *,
    ports: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
) -> End:
    """Return a pod of the chart."""
    own = {
        "app.kubernetes.io/name": "orchestrator",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": name,
    }
    return End(namespace=namespace, labels={**own, **(labels or {})}, ports=ports or {})


def allowed(
    manifests: Iterable[Manifest], source: End, target: End, port: int, protocol: str = "TCP"
) -> bool:
    """Return whether a call is allowed by the policies of both ends."""
    policies = [one for one in manifests if one["kind"] == "NetworkPolicy"]
    at = port, protocol
    out = _passes(policies, source, target, "egress", {}, at)
    return out and _passes(policies, target, source, "ingress", target.ports, at)


def _passes(
    policies: Sequence[Manifest],
    own: End,
    other: End,
    direction: str,
    names: Mapping[str, int],
    at: tuple[int, str],
) -> bool:
    binding = [
        policy["spec"]
        for policy in policies
        if own.namespace == policy["metadata"]["namespace"]
        and direction.capitalize() in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], own.labels)
    ]
    if not own.namespace or not binding:
        return True
    peers = "to" if direction == "egress" else "from"
    return any(
        _is_at(rule.get("ports"), at, names)
        and (not rule.get(peers) or any(_is(peer, other, own) for peer in rule[peers]))
        for spec in binding
        for rule in spec.get(direction) or ()
    )


def _is_at(ports: Sequence[Any] | None, at: tuple[int, str], names: Mapping[str, int]) -> bool:
    if not ports:
        return True
    return at in [(names.get(one["port"], one["port"]), one.get("protocol", "TCP")) for one in ports]


def _is(peer: Mapping[str, Any], end: End, own: End) -> bool:
    if block := peer.get("ipBlock"):
        if not end.address:
            return False
        address = ipaddress.ip_address(end.address)
        excepted = any(address in ipaddress.ip_network(part) for part in block.get("except", ()))
        return address in ipaddress.ip_network(block["cidr"]) and not excepted
    if not end.namespace:
        return False
    if "namespaceSelector" in peer:
        here = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end.namespace})
    else:
        here = end.namespace == own.namespace
    return here and _selects(peer.get("podSelector", {}), end.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
