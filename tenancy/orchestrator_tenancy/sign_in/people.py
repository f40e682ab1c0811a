"""Who somebody is to the provider, and what that makes of them here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.settings import ClaimRule
from orchestrator_tenancy.tenants import Tenancy, Tenant

_LONGEST_VALUE: Final = 512
"""Characters of a claim's value that is looked at: regular expressions are slow on what nobody wrote."""

_MOST_VALUES: Final = 2_000
_LONGEST_NAME: Final = 200
_LONGEST_SUBJECT: Final = 255
"""OpenID Connect Core 1.0, section 2."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a claim gave somebody.

    Attributes:
        tenant: None for operators, who have none.
        role: What they may do.
    """

    tenant: str | None
    role: Role


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody, as the provider knew them when they signed in.

    Attributes:
        issuer: The provider.
        subject: What it calls them for ever.
        name: What people call them.
        email: None unless the provider has seen that it is theirs.
        grants: By the claims.
    """

    issuer: str
    subject: str
    name: str
    email: str | None
    grants: tuple[Grant, ...]

    @property
    def identifier(self) -> str:
        """As `Identity.subject`."""
        return f"user:{self.issuer}#{self.subject}"

    @property
    def operator(self) -> bool:
        """Whether they may do everything."""
        return any(grant.role is Role.OPERATOR for grant in self.grants)

    def roles(self, tenancy: Tenancy) -> Mapping[str, Role]:
        """Return what they may do in each tenant that there is: by claims and as a member, the most of it."""
        each = {name: self.role_in(name, tenant) for name, tenant in tenancy.tenants.items()}
        return {name: role for name, role in each.items() if role is not None}

    def role_in(self, name: str, tenant: Tenant) -> Role | None:
        """Return what they may do in one tenant; None when they are not of it."""
        roles = [grant.role for grant in self.grants if grant.tenant == name]
        roles += [member.role for key, member in tenant.members.items() if self._is(key)]
        return max(roles, key=list(Role).index) if roles else None

    def _is(self, member: str) -> bool:
        if "@" in member:  # never a subject: some providers let people choose theirs
            return self.email is not None and member.casefold() == self.email.casefold()
        return member == self.subject


def person_of(claims: Mapping[str, Any], *, issuer: str, name: str, rules: Sequence[ClaimRule]) -> Person:
    """Return who verified claims are about.

    Args:
        claims: `sub` is a text.
        issuer: Whose claims these are.
        name: The claim with what people call somebody; where it is missing, the address or the subject is.
        rules: What other claims make of them.

    Raises:
        ValueError: The subject is too long, or no plain text.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise ValueError("the claim 'sub' is no text of 1 to 255 characters")
    email = claims.get("email") if claims.get("email_verified") is True else None
    address = email if isinstance(email, str) and 0 < len(email) <= _LONGEST_VALUE else None
    called = next(
        (text for text in (claims.get(name), address, subject) if isinstance(text, str) and text.strip()),
        subject,
    )
    return Person(
        issuer=issuer,
        subject=subject,
        name="".join(c if c.isprintable() else " " for c in called[:_LONGEST_NAME]).strip() or subject,
        email=address,
        grants=tuple(dict.fromkeys(_granted(claims, rules))),
    )


def _granted(claims: Mapping[str, Any], rules: Sequence[ClaimRule]) -> Iterable[Grant]:
    for rule in rules:
        for value in _values(claims, rule.claim):
            matched = re.fullmatch(rule.value, value)
            if matched is None:
                continue
            groups = matched.groupdict()
            role = rule.role or _role(groups.get("role"))
            tenant = None if role is Role.OPERATOR else rule.tenant or groups.get("tenant")
            if role is not None and (tenant is not None or role is Role.OPERATOR):
                yield Grant(tenant=tenant, role=role)


def _role(text: str | None) -> Role | None:
    """Return the role of a matched text; None for what is none, and for operators, whom a rule must name."""
    return next((role for role in Role if role.value == text and role is not Role.OPERATOR), None)


def _values(claims: Mapping[str, Any], claim: str) -> Iterable[str]:
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = cast("Mapping[str, Any]", found).get(part) if isinstance(found, Mapping) else None
    texts = cast("list[object]", found) if isinstance(found, list) else [found]
    return (text for text in texts[:_MOST_VALUES] if isinstance(text, str) and len(text) <= _LONGEST_VALUE)


def written_person(person: Person) -> object:
    """Return somebody as JSON."""
    return asdict(person)


def read_person(value: Any) -> Person:
    """Return who was written.

    Raises:
        KeyError, TypeError, ValueError: Nobody was.
    """
    fields: dict[str, Any] = dict(value)
    fields["grants"] = tuple(Grant(tenant=g["tenant"], role=Role(g["role"])) for g in value["grants"])
    return Person(**fields)
