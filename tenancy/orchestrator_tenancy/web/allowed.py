"""Storages that answer for one tenant: what is not allowed by a rule is refused, what a new Dagster adds included."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from orchestrator_tenancy.web.scopes import NotForTenants, Scope

Rule = Callable[[Any, str, Any], Any]
"""From a scoped storage, a member's name and the shared storage's member to what the tenant gets in its place."""


def passed(_own: Any, _name: str, member: Any) -> Any:
    """Give the member itself: it tells nothing of anybody and changes nothing."""
    return member


def refused(_own: Any, name: str, _member: Any) -> Any:
    """Refuse: it reads or changes what is everybody's."""
    raise NotForTenants(f"{name} is not for tenants")


def given(change: Callable[[Any, Any], Any]) -> Rule:
    """Change, or refuse, the first argument before the shared storage sees it.

    Args:
        change: From the scoped storage and what was given to what is asked instead; raises `NotForTenants`.
    """

    def rule(own: Any, name: str, member: Any) -> Any:
        first = next(iter(inspect.signature(member).parameters.values()))

        def asked(*args: Any, **named: Any) -> Any:
            if args:
                return member(change(own, args[0]), *args[1:], **named)
            value = named.pop(first.name, first.default)
            if value is inspect.Parameter.empty:
                raise TypeError(f"{name} needs {first.name}")
            return member(change(own, value), **named)

        return asked

    return rule


def told(change: Callable[[Any, Any], Any]) -> Rule:
    """Change the answer before the tenant sees it."""

    def rule(own: Any, _name: str, member: Any) -> Any:
        def answered(*args: Any, **named: Any) -> Any:
            return change(own, member(*args, **named))

        return answered

    return rule


class Allowed:
    """A storage as one tenant may use it: its own methods, and members of the shared one that have a rule.

    Args:
        inner: The shared storage.
        scope: Whose things.
    """

    RULES: ClassVar[Mapping[str, Rule]] = {}
    """By member of the shared storage; a test fails on a member of Dagster's that has neither rule nor method."""

    def __init__(self, inner: Any, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    def __getattr__(self, name: str) -> Any:
        """Return a member as its rule gives it; refuse one that has none."""
        rule = self.RULES.get(name)
        if rule is None:
            raise NotForTenants(f"{name} is not known to be safe for tenants")
        return rule(self, name, getattr(self._inner, name))
