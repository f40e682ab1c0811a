"""What a marketplace's checks saw of a version, for whoever decides whether to take it: facts, not an opinion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator_marketplace.acceptance import Accepted
from orchestrator_marketplace.locked_packages import Package
from orchestrator_runtimes.json_values import Json


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was seen of a version when it was checked.

    Attributes:
        digest: Of the bundle that was looked at.
        publisher: Whose signature it was.
        signed: When they signed, RFC 3339, as they say; None when they do not.
        expires: Until when the signature holds, RFC 3339; None when without end.
        provenance: How the bundle came about, as its publisher says: a SLSA predicate.
        packages: What its environment is made of.
        cases: Names of its evaluation cases.
    """

    digest: str
    publisher: str
    signed: str | None = None
    expires: str | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict[str, Json])
    packages: tuple[Package, ...] = ()
    cases: tuple[str, ...] = ()


def evidence_of(accepted: Accepted) -> Evidence:
    """Return what was seen of a bundle that is taken."""
    bundle, verified = accepted.bundle, accepted.verified
    return Evidence(
        digest=bundle.digest,
        publisher=verified.publisher,
        signed=_moment(verified.signed),
        expires=_moment(verified.expires),
        provenance=verified.provenance.predicate,
        packages=bundle.packages,
        cases=tuple(case.name for case in bundle.contents.cases()),
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
