"""What a tenant takes, as YAML; a decision says for each rule what it found.

tenants:
alpha:
publishers: [acme]
licences: [Apache-2.0, MIT]
permissions: ["mcp:orders", sessions]
prices: [{currency: EUR, per_execution: "0.05"}]
severity: medium
advisory_days: 7
ignored: [{advisory: GHSA-1234, reason: "the code is never called", until: "2026-12-31"}]
others: {severity: low, approval: true}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from orchestrator_marketplace.acceptance import Accepted
from orchestrator_marketplace.advisories import Scan, Weakness, scan
from orchestrator_marketplace.licence_expressions import is_allowed
from orchestrator_marketplace.pricing import Pricing
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.severities import WORDS
from orchestrator_marketplace.strict_yaml import read_yaml


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """An advisory that does not count.

    Attributes:
        advisory: Its id, or an alias.
        reason: Why not, for whoever reads the decision.
        until: A day, `2026-12-31`; None never ends.
    """

    advisory: str
    reason: str
    until: str | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody could answer for."""
        if not self.reason.strip():
            raise ValueError(f"ignored: say why {self.advisory!r:.80} does not count")
        if self.until is not None:
            datetime.strptime(self.until, "%Y-%m-%d")

    def counts(self, weakness: Weakness, now: datetime) -> bool:
        """Tell whether it is this weakness that does not count, still."""
        day = now.astimezone(UTC).strftime("%Y-%m-%d")
        return self.advisory in (weakness.advisory, *weakness.aliases) and (
            self.until is None or day <= self.until
        )


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one tenant takes.

    Attributes:
        publishers: Whose bundles; None takes those of all that are trusted.
        licences: SPDX names, of which a bundle's expression must be made up; None takes any.
        permissions: What bundles may ask for, as `Permissions.asked` words it; `*` stands for any characters. Nothing
            is allowed by default.
        prices: The most that is paid, in each currency. What is free is always taken, and nothing else by default.
        severity: The worst known weakness of a bundle's packages that is taken; `any` does not look.
        advisory_days: How old the newest record of the mirror may be; None takes any age.
        ignored: Advisories that do not count.
        approval: Whether a person decides about each publish that everything else allows.
    """

    publishers: tuple[str, ...] | None = None
    licences: tuple[str, ...] | None = None
    permissions: tuple[str, ...] = ()
    prices: tuple[Pricing, ...] = ()
    severity: Literal["none", "low", "medium", "high", "critical", "any"] = "medium"
    advisory_days: int | None = None
    ignored: tuple[Ignored, ...] = ()
    approval: bool = False


@dataclass(frozen=True, kw_only=True)
class Policies:
    """See the module.

    Attributes:
        tenants: By name.
        others: Of tenants that are not named; None lets them have nothing.
    """

    tenants: Mapping[str, Policy] = field(default_factory=dict[str, Policy])
    others: Policy | None = None

    def of(self, tenant: str) -> Policy:
        """Return a tenant's policy.

        Raises:
            BundleRefused: `policy`, when there is none.
        """
        found = self.tenants.get(tenant, self.others)
        if found is None:
            raise BundleRefused(
                Refusal.POLICY, f"there is no policy for the tenant {tenant!r}: nothing is taken"
            )
        return found


def read_policies(file: Path) -> Policies:
    """Return the policies of a file.

    Raises:
        BundleRefused: `malformed`, with the line or key.
    """
    return read_yaml(Policies, file)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule found.

    Attributes:
        rule: Which one, by the name that the policy's file has for it.
        allowed: Whether the bundle is taken as far as this rule goes.
        why: What it saw, and what it compared with.
    """

    rule: Literal["publishers", "licences", "permissions", "prices", "severity", "advisory_days"]
    allowed: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a policy says of a bundle.

    Attributes:
        tenant: Whose policy.
        bundle: Name, version and digest.
        findings: Of every rule, also of those that allow.
    """

    tenant: str
    bundle: str
    findings: tuple[Finding, ...]

    @property
    def allowed(self) -> bool:
        """Whether every rule allows it."""
        return all(finding.allowed for finding in self.findings)

    def lines(self) -> list[str]:
        """Return it for people, one line for each rule."""
        head = f"{self.bundle}: {'is allowed' if self.allowed else 'is not allowed'} for {self.tenant}"
        return [
            head,
            *(f"  {'ok' if one.allowed else 'no':<3} {one.rule}: {one.why}" for one in self.findings),
        ]

    def enforce(self) -> None:
        """Refuse a bundle that is not allowed.

        Raises:
            BundleRefused: `policy`, with every rule that does not allow it.
        """
        if not self.allowed:
            why = "; ".join(f"{one.rule}: {one.why}" for one in self.findings if not one.allowed)
            raise BundleRefused(Refusal.POLICY, f"{self.bundle} is not allowed for {self.tenant}: {why}")


def decide_by_files(
    accepted: Accepted, policy: Path, tenant: str, advisories: Path | None, now: datetime
) -> Decision:
    """Return what a tenant's policy says of a bundle, as both stand in files.

    Args:
        accepted: The bundle, and whose it is.
        policy: File of what tenants take.
        tenant: Whose.
        advisories: Mirror of known weaknesses; None when nobody looks, which no severity allows.
        now: When.
    """
    scanned = None if advisories is None else scan(accepted.bundle.packages, advisories)
    return decide(read_policies(policy), tenant, accepted, scanned, now)


def decide(
    policies: Policies, tenant: str, accepted: Accepted, scanned: Scan | None, now: datetime
) -> Decision:
    """Return what a tenant's policy says of a bundle.

    Args:
        policies: All.
        tenant: Whose.
        accepted: The bundle, and whose it is.
        scanned: What is known of its packages; None when nobody looked, which no severity allows.
        now: When.
    """
    policy = policies.of(tenant)
    manifest = accepted.bundle.contents.manifest
    return Decision(
        tenant=tenant,
        bundle=f"{manifest.name} {manifest.version} {accepted.bundle.digest}",
        findings=(
            _publishers(policy, accepted.verified.publisher),
            _licences(policy, manifest.licence),
            _permissions(policy, manifest.permissions.asked()),
            _prices(policy, manifest.pricing),
            *_weaknesses(policy, scanned, now),
        ),
    )


def _publishers(policy: Policy, publisher: str) -> Finding:
    allowed = policy.publishers is None or publisher in policy.publishers
    among = "all that are trusted" if policy.publishers is None else ", ".join(policy.publishers) or "nobody"
    return Finding(rule="publishers", allowed=allowed, why=f"{publisher}; allowed: {among}")


def _licences(policy: Policy, licence: str) -> Finding:
    allowed = policy.licences is None or is_allowed(licence, policy.licences)
    among = "any" if policy.licences is None else ", ".join(policy.licences) or "none"
    return Finding(rule="licences", allowed=allowed, why=f"{licence}; allowed: {among}")


def _permissions(policy: Policy, asked: tuple[str, ...]) -> Finding:
    missing = [one for one in asked if not any(fnmatchcase(one, allowed) for allowed in policy.permissions)]
    why = f"asks for {', '.join(asked) or 'nothing'}"
    if missing:
        why += f"; not allowed: {', '.join(missing)}"
    return Finding(rule="permissions", allowed=not missing, why=why)


def _prices(policy: Policy, pricing: Pricing | None) -> Finding:
    allowed = pricing is None or any(pricing.is_within(most) for most in policy.prices)
    among = "; ".join(map(str, policy.prices)) or "nothing"
    why = "free" if pricing is None else f"costs {pricing}; at most that is paid: {among}"
    return Finding(rule="prices", allowed=allowed, why=why)


def _weaknesses(policy: Policy, scanned: Scan | None, now: datetime) -> list[Finding]:
    if policy.severity == "any":
        return [Finding(rule="severity", allowed=True, why="known weaknesses are not looked for")]
    if scanned is None or scanned.newest is None:
        why = "nobody looked for known weaknesses" if scanned is None else "the mirror of advisories is empty"
        return [Finding(rule="severity", allowed=False, why=why)]
    most = WORDS[policy.severity]
    ignored = [one for one in scanned.weaknesses if any(entry.counts(one, now) for entry in policy.ignored)]
    worse = [one for one in scanned.weaknesses if one.severity > most and one not in ignored]
    told = ", ".join(
        f"{one.advisory} ({one.severity.word}) of {one.package.name} {one.package.version}" for one in worse
    )
    why = f"{len(scanned.weaknesses)} known weaknesses, {len(ignored)} ignored; at most {policy.severity} is allowed"
    found = [Finding(rule="severity", allowed=not worse, why=f"{why}; worse: {told}" if worse else why)]
    if policy.advisory_days is not None:
        age = now - scanned.newest
        found.append(
            Finding(
                rule="advisory_days",
                allowed=age <= timedelta(days=policy.advisory_days),
                why=f"the newest advisory is {max(age.days, 0)} days old; at most {policy.advisory_days} are allowed",
            )
        )
    return found
