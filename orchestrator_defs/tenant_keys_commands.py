"""`orchestrator tenants keys`: what seals the data of tenants: rotate, rewrap, list, hand out."""

import getpass
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator_defs.sign_in_commands import as_json, config, note, opened_stores, print_rows
from orchestrator_defs.tenants_commands import existing, opened
from orchestrator_runtimes.errors import AgentError, ErrorCode

if TYPE_CHECKING:
    from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
    from orchestrator_tenancy.platform_files import Release


@click.group("keys")
def tenant_keys() -> None:
    """Keys of tenants, which seal what their agents said: list, rotate, rewrap, export.

    They are kept in the control plane's database, wrapped by the secret in the file of ORCHESTRATOR_MASTER_SECRET_FILE.
    """


@contextmanager
def _opened() -> "Generator[TenantKeys]":
    _check_library()
    from orchestrator_tenancy.keys.master_secrets import master_secrets
    from orchestrator_tenancy.keys.tenant_key_store import open_tenant_keys

    with open_tenant_keys(master_secrets()) as keys:
        yield keys


@tenant_keys.command("list")
@click.option("--tenant", help="Only those of one.")
@as_json
def list_keys(tenant: str | None, *, as_json: bool) -> None:
    """List the versions that there are, without the keys."""
    _check_library()
    from orchestrator_tenancy.keys.tenant_key_store import open_tenant_keys
    from orchestrator_tenancy.sign_in.listings import moment

    with open_tenant_keys(()) as keys:
        rows = [
            {"tenant": one.tenant, "version": one.version, "made": moment(one.made)}
            for one in keys.list(tenant)
        ]
    print_rows(rows, "there are no keys", json_wanted=as_json)


@tenant_keys.command()
@config
@click.argument("name")
def rotate(file: Path, name: str) -> None:
    """Make a new version of a tenant's key; what older ones sealed stays readable.

    It seals once its file is handed out: `orchestrator tenants keys export`.
    """
    _existing(name)
    with opened_stores(file) as stores, _opened() as keys:
        version = keys.rotate(name)
        note(stores, "keys.rotate", name, name, f"version {version}")
    click.echo(f"version {version} of the key of {name}: export the keys again, and hand them out")


@tenant_keys.command()
@config
def rewrap(file: Path) -> None:
    """Wrap all keys by the present master secret; then ORCHESTRATOR_FORMER_MASTER_SECRET may go."""
    with opened_stores(file) as stores, _opened() as keys:
        count = keys.rewrap()
        note(stores, "keys.rewrap", None, "", f"keys: {count}")
    click.echo(f"wrapped anew: {count}; no key needs the former master secret any more")


@tenant_keys.command()
@config
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--tenant", help="Only the keys of one, for its runs; else those of all, for gateways.")
def export(file: Path, target: Path, tenant: str | None) -> None:
    """Write the keys to FILE, for its owner alone; a tenant that has none is given its first."""
    from orchestrator_tenancy.keys.handing_out import write_key_file

    if tenant is not None:
        _existing(tenant)
    with opened() as tenants:
        names = sorted(tenants.tenancy().tenants) if tenant is None else [tenant]
    with opened_stores(file) as stores, _opened() as keys:
        note(stores, "keys.export", tenant, str(target), f"tenants: {len(names)}")
        count = write_key_file(target, keys, names)
    click.echo(f"{target}: the keys of tenants, in all {count}")


def keys_handed_out(release: "Release", file: Path | None) -> None:
    """Give a release its keys as Secrets, where it wants some.

    Args:
        release: Whose Secrets they are.
        file: Settings of the sign-in, whose audit log keeps it; None when none were named.

    Raises:
        AgentError: `invalid_input` when something that this needs is not named.
        ClusterAway: The API server does not do it.
    """
    gateway: Mapping[str, Any] = release.values.get("gateway") or {}
    if gateway.get("tenantKeysSecret") is None:
        return
    if file is None:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            "gateway.tenantKeysSecret: set ORCHESTRATOR_SIGN_IN to the settings of the sign-in, whose audit log keeps"
            " who was given keys",
        )
    from orchestrator_tenancy.keys.key_secrets import hand_out_keys

    with opened_stores(file) as stores, _opened() as keys:
        count = len(release.values.get("tenants") or {})
        note(stores, "keys.export", None, f"release {release.name}", f"tenants: {count}")
        hand_out_keys(release, keys)


@click.command("delete")
@config
@click.argument("name")
@click.option(
    "--export",
    "export_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File (tar.gz) that gets its data, members, names of tokens, audit records and runs before anything goes.",
)
@click.option("--force", is_flag=True, help="Also while runs of it go on; they are not counted.")
def delete_tenant(file: Path, name: str, export_file: Path, *, force: bool) -> None:
    """Delete a tenant: export what it has, take it out, revoke its tokens and sessions, shred its keys.

    What its keys sealed can never be read again. The same command again finishes what was interrupted. Runs are counted
    and listed on the instance of DAGSTER_HOME; with --force and without that, the export has none.
    """
    _check_library()
    import dagster as dg

    from orchestrator_tenancy.keys.tenant_key_store import open_tenant_keys
    from orchestrator_tenancy.queue.going_runs import going_runs
    from orchestrator_tenancy.queue.run_rows import run_rows
    from orchestrator_tenancy.tenant_deletion import Deletion
    from orchestrator_tenancy.tenants import Tenant

    def going(tenant: Tenant) -> int:
        if not os.environ.get("DAGSTER_HOME"):
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                "set DAGSTER_HOME to the folder of the instance whose runs are counted, or use --force",
            )
        with dg.DagsterInstance.get() as instance:
            return going_runs(instance, tenant.locations.keys())

    def runs(tenant: Tenant) -> "Iterator[Mapping[str, Any]]":
        with dg.DagsterInstance.get() as instance:
            yield from run_rows(instance, tenant.locations.keys())

    with opened() as tenants, opened_stores(file) as stores, open_tenant_keys(()) as keys:
        deletion = Deletion(
            tenants=tenants,
            stores=stores,
            keys=keys,
            actor=f"machine:{getpass.getuser()}",
            going=None if force else going,
            runs=runs if os.environ.get("DAGSTER_HOME") else None,
        )
        gone = deletion.delete(name, export_file)
    counts = ", ".join(f"{count} {what}" for what, count in gone.items())
    click.echo(f"{name} is deleted, its data is in {export_file}; gone: {counts}")
    click.echo("export the keys again for gateways, and destroy copies of its key file")


def _existing(name: str) -> None:
    with opened() as tenants:
        existing(tenants.tenancy(), name)


def _check_library() -> None:
    if find_spec("cryptography") is None:
        raise click.ClickException("a library is missing: install agent-orchestrator[keys]")
