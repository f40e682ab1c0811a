"""A tenant leaves: its data is exported, then all that lets anybody in or reads its data goes.

The order is what makes a command that was killed safe to repeat: nothing goes before the export is there whole, the
tenant goes out of the directory next, so that nothing of it starts, and its keys last. Each step does what is left.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.audit.events import AuditEvent, written
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.sign_in.listings import token_row
from orchestrator_tenancy.sign_in.stores import Stores
from orchestrator_tenancy.tenant_exports import exported_tenant, write_export
from orchestrator_tenancy.tenant_store import TenantStore
from orchestrator_tenancy.tenants import Tenancy, Tenant


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What a deletion works on.

    Attributes:
        tenants: The directory.
        stores: Tokens, sessions and the audit log.
        keys: Of the tenants.
        actor: Who deletes, for the audit log.
        going: Counts the runs that go on of a tenant's locations; None counts none.
        runs: Tells all runs of a tenant's locations, for the export; None exports none.
    """

    tenants: TenantStore
    stores: Stores
    keys: TenantKeys
    actor: str
    going: Callable[[Tenant], int] | None
    runs: Callable[[Tenant], Iterable[Mapping[str, Any]]] | None = None

    def delete(self, name: str, export: Path) -> Mapping[str, int]:
        """Delete a tenant; again goes on with what is left.

        Args:
            name: Whose.
            export: File that its data goes into before anything of it goes.

        Returns:
            How many tokens, sessions and versions of keys went, by what they are.

        Raises:
            AgentError: `invalid_input` when there is no such tenant, or none that this export is of; runs of it go on;
                or the file is there and something else.
        """
        tenancy = self.tenants.tenancy()
        if name in tenancy.tenants:
            self._check(name, tenancy.tenants[name], export)
            self._record("tenant.delete", name)
            write_export(export, self._parts(tenancy, name))
            self.tenants.change(lambda stored: stored["tenants"].pop(name, None))
        elif exported_tenant(export) != name:
            there = ", ".join(sorted(tenancy.tenants)) or "none"
            raise _invalid(
                f"there is no tenant {name!r:.80}; there are {there}; and {export} is no export of it"
            )
        gone = {"tokens": self._revoke_tokens(name), "sessions": self._end_sessions(name)}
        gone["keys"] = self.keys.shred(name)
        self._record("keys.shred", name, reason=f"versions: {gone['keys']}")
        return gone

    def _check(self, name: str, tenant: Tenant, export: Path) -> None:
        if export.exists() and exported_tenant(export) != name:
            raise _invalid(f"{export} is there, and is no export of {name!r}: name another file")
        count = 0 if self.going is None else self.going(tenant)
        if count:
            why = f"runs that have not ended: {count}"
            self._record("tenant.delete", name, allowed=False, reason=why)
            raise _invalid(
                f"runs of {name!r} that have not ended: {count}; suspend it and wait, or use --force"
            )

    def _parts(self, tenancy: Tenancy, name: str) -> Mapping[str, Iterable[Mapping[str, Any]]]:
        tenant = tenancy.tenants[name]
        told = tenant.model_dump(mode="json", exclude_defaults=True, exclude={"members"})
        organisation = tenancy.organisations[tenant.organisation]
        members = [{"member": member, "role": one.role.value} for member, one in tenant.members.items()]
        records = (written(record) for record in self.stores.audit.records() if record.event.tenant == name)
        return {
            "tenant": [{"tenant": name, "organisation_title": organisation.title, **told}],
            "members": members,
            "tokens": [token_row(token) for token in self.stores.tokens.list(name)],
            "audit": records,
            **({} if self.runs is None else {"runs": self.runs(tenant)}),
        }

    def _revoke_tokens(self, name: str) -> int:
        held = [token for token in self.stores.tokens.list(name) if token.revoked is None]
        for token in held:
            self.stores.tokens.revoke(token.id, name)
        return len(held)

    def _end_sessions(self, name: str) -> int:
        """End the sessions that are in the tenant now; its members may have others elsewhere."""
        return sum(
            self.stores.sessions.revoke(session.id)
            for session in self.stores.sessions.list()
            if session.tenant == name
        )

    def _record(self, action: str, name: str, *, allowed: bool = True, reason: str = "") -> None:
        event = AuditEvent(
            actor=self.actor, action=action, tenant=name, target=name, allowed=allowed, reason=reason
        )
        self.stores.audit.append([event])


def _invalid(text: str) -> AgentError:
    return AgentError(ErrorCode.INVALID_INPUT, text)
