"""What a tenant takes, and why: publishers, licences, permissions, known weaknesses; every rule says what it saw."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import InvalidLicenseExpression

from orchestrator_marketplace.acceptance import Accepted
from orchestrator_marketplace.advisories import Scan, Weakness
from orchestrator_marketplace.bundle_artifacts import open_bundle
from orchestrator_marketplace.licence_expressions import is_allowed
from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.policies import Decision, Ignored, Policies, Policy, decide, read_policies
from orchestrator_marketplace.pricing import Pricing
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.severities import Severity
from orchestrator_marketplace.signatures import Verified
from orchestrator_marketplace.statements import PROVENANCE, Statement
from tests.unit.marketplace.certificates import NOW
from tests.unit.marketplace.written_bundles import built

PACKAGE = Package(ecosystem="PyPI", name="requests", version="2.31.0")
WEAKNESS = Weakness(
    advisory="GHSA-1", aliases=("CVE-1",), package=PACKAGE, severity=Severity.HIGH, summary="Leaks"
)
CLEAN = Scan(weaknesses=(), records=1, newest=NOW - timedelta(days=3))
WEAK = replace(CLEAN, weaknesses=(WEAKNESS,))
OPEN = Policy(permissions=("*",))


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    bundle = open_bundle(*built(tmp_path_factory.mktemp("bundle")))
    provenance = Statement(subject=bundle.digest, kind=PROVENANCE, predicate={})
    verified = Verified(publisher="acme", signed=None, expires=None, provenance=provenance)
    return Accepted(bundle=bundle, verified=verified)


def said(policy: Policy, accepted: Accepted, scanned: Scan | None = CLEAN) -> Decision:
    return decide(Policies(tenants={"alpha": policy}), "alpha", accepted, scanned, NOW)


@pytest.mark.parametrize(
    ("asked", "paid", "allowed"),
    [
        (None, [], True),
        ({"per_call": "0.01"}, [], False),
        ({"per_call": "0.01"}, [{"currency": "EUR", "per_call": "0.01"}], True),
        ({"per_call": "0.010001"}, [{"currency": "EUR", "per_call": "0.01"}], False),
        ({"per_call": "0.01"}, [{"currency": "USD", "per_call": "1"}], False),
        ({"per_call": "0.01", "per_month": "1"}, [{"currency": "EUR", "per_call": "1"}], False),
        (
            {"per_month": "9"},
            [{"currency": "EUR", "per_call": "1"}, {"currency": "EUR", "per_month": "10"}],
            True,
        ),
    ],
)
def test_what_a_tenant_pays_is_bounded(
    accepted: Accepted, asked: dict[str, str] | None, paid: list[dict[str, str]], allowed: bool
) -> None:
    pricing = None if asked is None else Pricing(currency="EUR", **asked)
    bundle = accepted.bundle
    manifest = replace(bundle.contents.manifest, pricing=pricing)
    priced = replace(accepted, bundle=replace(bundle, contents=replace(bundle.contents, manifest=manifest)))
    decision = said(replace(OPEN, prices=tuple(Pricing(**most) for most in paid)), priced)
    (finding,) = [one for one in decision.findings if one.rule == "prices"]
    assert finding.allowed is allowed is decision.allowed
    assert finding.why == "free" if asked is None else finding.why.startswith("costs EUR ")


@pytest.mark.parametrize(
    ("policy", "scanned", "rule", "why"),
    [
        (replace(OPEN, publishers=("globex",)), CLEAN, "publishers", "acme; allowed: globex"),
        (replace(OPEN, publishers=()), CLEAN, "publishers", "acme; allowed: nobody"),
        (replace(OPEN, licences=("MIT",)), CLEAN, "licences", "Apache-2.0; allowed: MIT"),
        (Policy(), CLEAN, "permissions", "asks for mcp:orders, sessions; not allowed: mcp:orders, sessions"),
        (Policy(permissions=("mcp:*",)), CLEAN, "permissions", "not allowed: sessions"),
        (OPEN, WEAK, "severity", "at most medium is allowed; worse: GHSA-1 (high) of requests 2.31.0"),
        (OPEN, None, "severity", "nobody looked for known weaknesses"),
        (OPEN, Scan(weaknesses=(), records=0, newest=None), "severity", "the mirror of advisories is empty"),
        (replace(OPEN, advisory_days=2), CLEAN, "advisory_days", "is 3 days old; at most 2 are allowed"),
    ],
)
def test_what_a_rule_does_not_allow_is_explained(
    policy: Policy, scanned: Scan | None, rule: str, why: str, accepted: Accepted
) -> None:
    decision = said(policy, accepted, scanned)
    (refused,) = (one for one in decision.findings if not one.allowed)
    assert refused.rule == rule and why in refused.why
    assert not decision.allowed and f"no  {rule}: " in "\n".join(decision.lines())
    with pytest.raises(
        BundleRefused, match=r"policy: acme/reviewer 1.2.0 sha256:.* is not allowed for alpha"
    ) as error:
        decision.enforce()
    assert error.value.refusal is Refusal.POLICY and why in error.value.message


@pytest.mark.parametrize(
    ("policy", "scanned"),
    [
        (OPEN, CLEAN),
        (Policy(permissions=("mcp:orders", "sessions")), CLEAN),
        (replace(OPEN, publishers=("acme", "globex"), licences=("MIT", "Apache-2.0")), CLEAN),
        (replace(OPEN, severity="high"), WEAK),
        (replace(OPEN, severity="any"), None),
        (replace(OPEN, advisory_days=3), CLEAN),
        (replace(OPEN, ignored=(Ignored(advisory="CVE-1", reason="never called"),)), WEAK),
        (replace(OPEN, ignored=(Ignored(advisory="GHSA-1", reason="x", until="2026-06-01"),)), WEAK),
    ],
)
def test_what_every_rule_allows_is_taken(policy: Policy, scanned: Scan | None, accepted: Accepted) -> None:
    decision = said(policy, accepted, scanned)
    assert decision.allowed, decision.lines()
    decision.enforce()
    assert decision.lines()[0].endswith("is allowed for alpha") and len(decision.lines()) >= 5


@pytest.mark.parametrize(
    "ignored",
    [Ignored(advisory="GHSA-1", reason="x", until="2026-05-31"), Ignored(advisory="GHSA-2", reason="x")],
)
def test_what_is_ignored_ends(ignored: Ignored, accepted: Accepted) -> None:
    assert not said(replace(OPEN, ignored=(ignored,)), accepted, WEAK).allowed


@pytest.mark.parametrize("severity", [one for one in Severity if one is not Severity.UNKNOWN])
def test_what_nobody_judged_is_worse_than_all(severity: Severity, accepted: Accepted) -> None:
    unknown = replace(CLEAN, weaknesses=(replace(WEAKNESS, severity=Severity.UNKNOWN),))
    policy = Policies(tenants={"alpha": replace(OPEN, severity=severity.word)})  # type: ignore[arg-type]  # each word is one
    assert not decide(policy, "alpha", accepted, unknown, NOW).allowed


def test_policies_are_a_file(tmp_path: Path, accepted: Accepted) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        'tenants: {alpha: {publishers: [acme], licences: [Apache-2.0], permissions: ["mcp:*", sessions],'
        ' severity: low, ignored: [{advisory: GHSA-1, reason: "never called", until: "2026-12-31"}]}}\n'
    )
    policies = read_policies(file)
    assert decide(policies, "alpha", accepted, WEAK, NOW).allowed
    with pytest.raises(BundleRefused, match="no policy for the tenant 'beta': nothing is taken"):
        decide(policies, "beta", accepted, WEAK, NOW)
    file.write_text("others: {}\n")
    assert not decide(read_policies(file), "beta", accepted, CLEAN, NOW).allowed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tenants: {a: {severity: worst}}", "tenants.a.severity: expected one of"),
        ("tenants: {a: {licence: []}}", "unknown key 'licence'; did you mean 'licences'"),
        ("others: {ignored: [{advisory: a, reason: ' '}]}", "say why 'a' does not count"),
        ("others: {ignored: [{advisory: a, reason: b, until: soon}]}", "does not match format"),
    ],
)
def test_policies_that_cannot_be_read(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(BundleRefused, match=why):
        read_policies(tmp_path / "policy.yaml")


NAMES = ["MIT", "Apache-2.0", "GPL-3.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"]
expressions = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
        lambda part: f"({' '.join(part)})"
    ),
    max_leaves=6,
)


@given(expressions, st.sets(st.sampled_from(NAMES)))
def test_licences_are_judged_as_logic_does(expression: str, allowed: set[str]) -> None:
    logic = expression
    for name in sorted(NAMES, key=len, reverse=True):
        logic = logic.replace(name, str(name in allowed))
    assert is_allowed(expression, allowed) == eval(logic.replace("AND", "and").replace("OR", "or"))


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT OR GPL-3.0-only AND Apache-2.0", True),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", False),
        ("mit", True),
    ],
)
def test_and_binds_before_or(expression: str, allowed: bool) -> None:
    assert is_allowed(expression, {"MIT"}) == allowed
    with pytest.raises(InvalidLicenseExpression):
        is_allowed("MIT AND", {"MIT"})
