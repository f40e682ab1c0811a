"""`orchestrator sign-in`, `tokens`, `sessions` and `audit`: who may come in, who is in, and what was decided."""

import contextlib
import getpass
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from orchestrator_defs.text_tables import text_table
from orchestrator_tenancy.identities import Role

if TYPE_CHECKING:
    from orchestrator_tenancy.audit.events import AuditRecord
    from orchestrator_tenancy.sign_in.stores import Stores

_ROLES = [role.value for role in Role if role is not Role.OPERATOR]

config = click.option(
    "--config",
    "file",
    required=True,
    envvar="ORCHESTRATOR_SIGN_IN",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings of the sign-in (YAML).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextlib.contextmanager
def _told() -> Generator[None]:
    """Tell what cannot be done in a line."""
    if find_spec("joserfc") is None or find_spec("authlib") is None:
        raise click.ClickException("libraries are missing: install agent-orchestrator[sign-in]")
    from orchestrator_gateway.settings_files import BadConfiguration
    from orchestrator_tenancy.audit.events import Tampered
    from orchestrator_tenancy.sign_in.refusals import ProviderUnavailable

    try:
        yield
    except (BadConfiguration, Tampered, ProviderUnavailable) as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def opened_stores(file: Path) -> "Generator[Stores]":
    """Open what the settings of a sign-in keep."""
    with _told():
        from orchestrator_tenancy.control_databases import control_database
        from orchestrator_tenancy.sign_in.settings import load, read_secrets
        from orchestrator_tenancy.sign_in.stores import FILE, open_stores

        settings = load(file)
        secrets = read_secrets(settings, file.parent)
        with control_database(FILE) as database:
            yield open_stores(database, settings, secrets)


def note(stores: "Stores", action: str, tenant: str | None, target: str, reason: str = "") -> None:
    """Write down what somebody at the command line did."""
    from orchestrator_tenancy.audit.events import AuditEvent

    stores.audit.append(
        [
            AuditEvent(
                actor=f"machine:{getpass.getuser()}",
                action=action,
                tenant=tenant,
                target=target,
                allowed=True,
                reason=reason,
            )
        ]
    )


def print_rows(rows: Sequence[Mapping[str, Any]], nothing: str, *, json_wanted: bool) -> None:
    """Print a table, or JSON; `nothing` where there are no rows."""
    if json_wanted:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo(nothing)
    else:
        cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
        click.echo(text_table([list(rows[0]), *cells]))


@click.group("sign-in")
def sign_in() -> None:
    """People sign in at an OpenID provider: check the settings."""


@sign_in.command()
@config
def check(file: Path) -> None:
    """Say whether people could sign in: read the settings, and ask the provider for its metadata and keys."""
    import asyncio

    with _told():
        from orchestrator_tenancy.sign_in.parts import open_provider
        from orchestrator_tenancy.sign_in.settings import load, read_secrets

        settings = load(file)
        provider = open_provider(settings, read_secrets(settings, file.parent), file.parent)
        asyncio.run(provider.check())
    click.echo(f"{settings.provider.issuer} answers; it must know {settings.url}/sign-in/callback")


@click.group()
def tokens() -> None:
    """API tokens for programs such as CI: create, list, revoke."""


@tokens.command("create")
@config
@click.argument("name")
@click.option("--tenant", required=True, help="Whose objects it sees.")
@click.option("--role", required=True, type=click.Choice(_ROLES), help="What it may do.")
@click.option("--days", default=90.0, show_default=True, help="How long it holds; at most a year.")
def create_token(file: Path, name: str, tenant: str, role: str, days: float) -> None:
    """Create a token: NAME says what it is for.

    It is printed this once. Programs send it as `Authorization: Bearer TOKEN`.
    """
    with opened_stores(file) as stores:
        token, text = stores.tokens.create(name=name, tenant=tenant, role=Role(role), days=days)
        note(stores, "token.create", tenant, token.id, f"{name}, {role}, {days:g} days")
    click.echo(text)


@tokens.command("list")
@config
@click.option("--tenant", help="Only those of one tenant.")
@as_json
def list_tokens(file: Path, tenant: str | None, *, as_json: bool) -> None:
    """List tokens, without their secrets, which nobody can read again."""
    with opened_stores(file) as stores:
        from orchestrator_tenancy.sign_in.listings import token_row

        rows = [token_row(token) for token in stores.tokens.list(tenant)]
    print_rows(rows, "there are no tokens", json_wanted=as_json)


@tokens.command("revoke")
@config
@click.argument("token")
def revoke_token(file: Path, token: str) -> None:
    """Take a token back: TOKEN is its id. Servers see it within seconds."""
    with opened_stores(file) as stores:
        found = stores.tokens.revoke(token)
        note(stores, "token.revoke", found.tenant, found.id)
    click.echo(f"{found.id} ({found.name}) of {found.tenant} is revoked")


@click.group()
def sessions() -> None:
    """Sessions of people who signed in: list, revoke."""


@sessions.command("list")
@config
@click.option("--subject", help="Only those of one person, such as user:ISSUER#SUBJECT.")
@as_json
def list_sessions(file: Path, subject: str | None, *, as_json: bool) -> None:
    """List who is signed in."""
    with opened_stores(file) as stores:
        from orchestrator_tenancy.sign_in.listings import session_row

        rows = [session_row(session) for session in stores.sessions.list(subject)]
    print_rows(rows, "nobody is signed in", json_wanted=as_json)


@sessions.command("revoke")
@config
@click.argument("name")
def revoke_session(file: Path, name: str) -> None:
    """End a session: NAME is its id, or a subject for all of that person. Websockets end within seconds."""
    with opened_stores(file) as stores:
        everywhere = name.startswith("user:")
        count = stores.sessions.revoke_all(name) if everywhere else int(stores.sessions.revoke(name))
        if not count:
            raise click.ClickException(
                f"there is no session of {name!r:.200}; see `orchestrator sessions list`"
            )
        note(stores, "session.revoke", None, name)
    click.echo(f"{count} ended")


@click.group()
def audit() -> None:
    """The audit log, which is only added to: export it, and verify that nobody changed it."""


@audit.command("export")
@config
@click.option("--after", default=0, show_default=True, help="Begin after the record of this number.")
@click.option(
    "--output",
    default="-",
    type=click.File("w", encoding="utf-8", lazy=False),
    help="File; - is standard output.",
)
def export_audit(file: Path, after: int, output: TextIO) -> None:
    """Print the records, one JSON object in a line."""
    with opened_stores(file) as stores:
        from orchestrator_tenancy.audit.events import written

        for record in stores.audit.records(after):
            output.write(f"{json.dumps(written(record))}\n")


@audit.command("verify")
@click.option(
    "--config",
    "file",
    envvar="ORCHESTRATOR_SIGN_IN",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings of the sign-in (YAML); without them only the chain of an exported file is checked.",
)
@click.option(
    "--exported", type=click.File("r", encoding="utf-8"), help="A file of `export`, in place of the database."
)
@click.option(
    "--head", help="NUMBER:DIGEST that was printed before: it must still be in the log.", metavar="HEAD"
)
def verify_audit(file: Path | None, exported: TextIO | None, head: str | None) -> None:
    """Check that no record was changed, put in, taken out or moved, and print where the log ends.

    Keep what is printed elsewhere: given as --head later, it shows whether the end was cut off.
    """
    with _told():
        from orchestrator_tenancy.audit.events import verify

        expected = None if head is None else _head(head)
        if file is None:
            if exported is None:
                raise click.UsageError("give --config, or --exported, or both")
            found = verify(_lines(exported), [], expected)
        else:
            with opened_stores(file) as stores:
                records = stores.audit.records() if exported is None else _lines(exported)
                found = verify(records, stores.audit.keys, expected)
    click.echo(f"{found.number} records are as they were written; head {found.number}:{found.digest}")
    if file is None:
        click.echo(
            "without --config their seals were not checked: whoever can write all of it can make a chain",
            err=True,
        )


def _head(text: str) -> Any:
    from orchestrator_tenancy.audit.events import Head

    number, _, digest = text.partition(":")
    if not number.isascii() or not number.isdecimal() or len(digest) != 64:
        raise click.UsageError(f"--head {text!r:.80}: expected NUMBER:DIGEST, as `verify` prints it")
    return Head(number=int(number), digest=digest)


def _lines(file: Iterable[str]) -> "Iterator[AuditRecord]":
    from orchestrator_tenancy.audit.events import Tampered, read

    for line in file:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise Tampered("a line is no record of an audit log") from error
        yield read(value)
