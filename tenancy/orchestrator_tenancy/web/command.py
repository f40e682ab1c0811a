"""`orchestrator web`: Dagster's pages for many tenants, behind the sign-in."""

from collections.abc import Sequence
from pathlib import Path

import click

from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_gateway.tls_files import BadTlsFile, certificate_of


@click.command()
@click.option(
    "--workspace",
    "-w",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Dagster's workspace file with the code locations of all tenants; may be given again.",
)
@click.option(
    "--sign-in",
    "sign_in_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings of the sign-in, without which nobody gets in; `orchestrator sign-in check` looks at them.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--path-prefix", default="", help="Of all paths, as a proxy in front has it: /agents.")
@click.option(
    "--origin", multiple=True, help="Origin whose pages may ask, as a proxy in front has it; again for more."
)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Keys of tenants, as `orchestrator tenants keys` writes them, to show people what runs sealed for them.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    help="Certificate to show (PEM), read again when it changes; without it, no TLS.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM, not encrypted).")
def web(
    workspace: Sequence[Path],
    sign_in_file: Path,
    host: str,
    port: int,
    path_prefix: str,
    origin: Sequence[str],
    keys_file: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
) -> None:
    """Serve Dagster's pages to many tenants, each of which sees its own alone."""
    # Dagster's server is slow to import, and --help needs none of it
    from orchestrator_gateway.tenant_keys import BadKeyFile, KeyFile
    from orchestrator_tenancy.checked_locations import LocationRefused
    from orchestrator_tenancy.control_databases import control_database
    from orchestrator_tenancy.sign_in.stores import FILE
    from orchestrator_tenancy.sign_in.wrapper import sign_in
    from orchestrator_tenancy.tenant_store import open_tenants
    from orchestrator_tenancy.web.serving import serve

    if path_prefix and (not path_prefix.startswith("/") or path_prefix.endswith("/")):
        raise click.UsageError(f"--path-prefix begins with a slash and ends with none: {path_prefix!r}")
    try:
        certificate = certificate_of(tls_certificate, tls_key)
        with open_tenants() as directory, control_database(FILE) as database:
            serve(
                directory,
                workspace,
                lambda app: sign_in(app, sign_in_file, directory, database),
                host=host,
                port=port,
                prefix=path_prefix,
                origins=origin,
                keys=None if keys_file is None else KeyFile(keys_file),
                certificate=certificate,
            )
    except (BadConfiguration, BadKeyFile, BadTlsFile, LocationRefused) as error:
        raise click.ClickException(str(error)) from error
