"""`orchestrator tenants`: who is on this platform, and what they may have."""

import contextlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, cast

import click
import yaml

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_defs.sign_in_commands import note, opened_stores
from orchestrator_defs.text_tables import text_table
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.platform_files import Release, read_platform, releases
from orchestrator_tenancy.tenant_store import Change, TenantStore, applied, open_tenants
from orchestrator_tenancy.tenants import BadTenancy, Tenancy


@contextlib.contextmanager
def opened() -> Generator[TenantStore]:
    """Open the tenants of this platform.

    Raises:
        AgentError: `invalid_input` when it is not said which; `state_unavailable`.
    """
    try:
        with open_tenants() as store:
            yield store
    except BadTenancy as error:
        raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error


@click.group()
def tenants() -> None:
    """Tenants: apply a file, list, show, suspend, resume, change a plan, delete; make on a cluster what they have.

    A tenant is a team with its code locations, members and quotas; `organisations`, `plans` and `tenants` of a YAML
    file say who there is. They are kept in the control plane's own database: below DAGSTER_HOME, or in the PostgreSQL
    of ORCHESTRATOR_CONTROL_URL.
    """


_SIGN_IN = click.option(
    "--config",
    "sign_in",
    envvar="ORCHESTRATOR_SIGN_IN",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings of the sign-in (YAML), whose audit log keeps who changed what and who was given keys.",
)


@tenants.command()
@_SIGN_IN
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def apply(files: Sequence[Path], sign_in: Path | None, *, dry_run: bool) -> None:
    """Make what FILES name as they say; what they do not name stays."""
    wanted = [(file, _read(file)) for file in files]

    def edit(stored: dict[str, Any]) -> None:
        for file, content in wanted:
            try:
                applied(stored, content)
            except BadTenancy as error:
                raise BadTenancy(f"{file}: {error}") from error

    with opened() as store:
        if dry_run:
            _tell(store.would_change(edit), would=True)
        else:
            _tell(_changed(store, edit, sign_in, "tenants.apply"))


@tenants.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_tenants(*, as_json: bool) -> None:
    """List the tenants."""
    with opened() as store:
        found = store.tenancy()
    if as_json:
        print(json.dumps([_row(found, name) for name in sorted(found.tenants)]))
    elif not found.tenants:
        print("there are no tenants: orchestrator tenants apply FILE")
    else:
        rows = [[_cell(value) for value in _row(found, name).values()] for name in sorted(found.tenants)]
        print(text_table([["tenant", "organisation", "plan", "state", "locations", "members"], *rows]))


@tenants.command()
@click.argument("name")
def show(name: str) -> None:
    """Show a tenant as YAML, with the quotas that hold for it."""
    with opened() as store:
        found = store.tenancy()
    existing(found, name)
    told = found.tenants[name].model_dump(mode="json", exclude_defaults=True)
    told["quotas"] = found.quotas(name).model_dump(mode="json", exclude_none=True)
    print(yaml.safe_dump({name: told}, sort_keys=False), end="")


@tenants.command()
@_SIGN_IN
@click.argument("name")
def suspend(name: str, sign_in: Path | None) -> None:
    """Let a tenant start nothing more; what runs goes on, and what it has stays."""
    _edit(name, sign_in, "tenant.suspend", suspended=True)


@tenants.command()
@_SIGN_IN
@click.argument("name")
def resume(name: str, sign_in: Path | None) -> None:
    """Let a suspended tenant go on."""
    _edit(name, sign_in, "tenant.resume", suspended=False)


@tenants.command()
@_SIGN_IN
@click.argument("name")
@click.argument("plan")
def plan(name: str, plan: str, sign_in: Path | None) -> None:
    """Give a tenant another plan; what runs goes on, what is to begin goes by the new one."""
    _edit(name, sign_in, f"tenant.plan {plan}", plan=plan)


_PLATFORM = click.option(
    "--platform",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file that says where the platform is: release, namespace, chart, values, managed.",
)


@tenants.command()
@_PLATFORM
@click.option("--tenant", help="One with an instance of its own; else the release that the others share.")
def values(file: Path, tenant: str | None) -> None:
    """Print the values of the Helm chart."""
    found: dict[str, Release] = {one.name: one for one in _releases(file)}
    name = read_platform(file).release + (f"-{tenant}" if tenant else "")
    if name not in found:
        raise AgentError(
            ErrorCode.INVALID_INPUT, f"there is no release {name!r}; there are {', '.join(found)}"
        )
    print(yaml.safe_dump(dict(found[name].values), sort_keys=False), end="")


@tenants.command()
@_PLATFORM
@_SIGN_IN
def reconcile(file: Path, sign_in: Path | None) -> None:
    """Make on the cluster what the tenants have: namespaces, quotas, policies, accounts, code servers, budgets.

    Helm does it, on the cluster of KUBECONFIG. What somebody changed there by hand is as it was afterwards. Secrets
    that tenants' pods read are beside the release; each tenant's namespace is given its own. Where the values have
    gateway.tenantKeysSecret, the gateway is given the keys of all tenants, and each tenant's namespace its own. Of
    tenants that are gone, the Secrets go, too; namespaces and releases of their own stay.
    """
    from orchestrator_defs.tenant_keys_commands import keys_handed_out
    from orchestrator_tenancy.releases import install
    from orchestrator_tenancy.secret_drift import take_back
    from orchestrator_tenancy.tenant_secrets import hand_out

    found = _releases(file)
    for one in found:
        try:
            hand_out(one)
            keys_handed_out(one, sign_in)
        except ClusterAway as error:
            raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error
        install(one)
        print(f"release {one.name} in {one.namespace}: is as it should be")
    try:
        for name in take_back(found):
            print(f"{name}: was of no tenant, and is gone")
    except ClusterAway as error:
        raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error


@tenants.command()
@_PLATFORM
def drift(file: Path) -> None:
    """Say what on the cluster is not as the tenants' data says; the exit status is 1 where there is something."""
    from orchestrator_tenancy.releases import drifts
    from orchestrator_tenancy.secret_drift import secret_drifts

    try:
        every = _releases(file)
        found = [str(one) for release in every for one in drifts(release)] + secret_drifts(every)
    except ClusterAway as error:
        raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error
    for one in found:
        print(one)
    if found:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"{len(found)} parts differ: `orchestrator tenants reconcile` makes them as they should be",
        )
    print("nothing is different")


def _releases(file: Path) -> list[Release]:
    with opened() as store:
        return releases(read_platform(file), store.tenancy())


def _edit(name: str, sign_in: Path | None, action: str, **fields: Any) -> None:
    def edit(stored: dict[str, Any]) -> None:
        if name not in stored["tenants"]:
            raise BadTenancy(_unknown(name, sorted(stored["tenants"])))
        stored["tenants"][name] = {**stored["tenants"][name], **fields}

    with opened() as store:
        _tell(_changed(store, edit, sign_in, action))


def _changed(
    store: TenantStore, edit: Callable[[dict[str, Any]], None], sign_in: Path | None, action: str
) -> Sequence[Change]:
    """Change tenants, which the audit log of a sign-in knows before; without one, nobody is told."""
    changes = store.would_change(edit) if sign_in is not None else []
    if sign_in is not None and changes:
        with opened_stores(sign_in) as stores:
            for one in changes:
                tenant = one.name if one.kind == "tenants" else None
                note(stores, action, tenant, f"{one.kind.removesuffix('s')} {one.name}", one.what)
    return store.change(edit)


def _tell(changes: Sequence[Change], *, would: bool = False) -> None:
    for change in changes:
        print(f"{change.kind.removesuffix('s')} {change.name}: {'would be ' if would else ''}{change.what}")
    if not changes:
        print("nothing is different")


def _row(found: Tenancy, name: str) -> dict[str, Any]:
    tenant = found.tenants[name]
    return {
        "tenant": name,
        "organisation": tenant.organisation,
        "plan": tenant.plan,
        "state": "suspended" if tenant.suspended else "active",
        "locations": sorted(tenant.locations),
        "members": len(tenant.members),
    }


def _cell(value: Any) -> str:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)


def existing(found: Tenancy, name: str) -> None:
    """Refuse a name that no tenant has.

    Raises:
        AgentError: `invalid_input`.
    """
    if name not in found.tenants:
        raise AgentError(ErrorCode.INVALID_INPUT, _unknown(name, sorted(found.tenants)))


def _unknown(name: str, there: Sequence[str]) -> str:
    return f"there is no tenant {name!r}; there are {', '.join(there) or 'none'}"


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise AgentError(ErrorCode.INVALID_INPUT, f"{file} cannot be read: {words}") from error
