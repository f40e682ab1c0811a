"""`python -m orchestrator_tenancy.web`."""

from collections.abc import Sequence
from pathlib import Path

import click


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
    required=True,
    help="MODULE:NAME of a function that puts a sign-in before an ASGI application; without one nobody gets in.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--path-prefix", default="", help="Of all paths, as a proxy in front has it: /agents.")
@click.option(
    "--origin", multiple=True, help="Origin whose pages may ask, as a proxy in front has it; again for more."
)
def web(
    workspace: Sequence[Path], sign_in: str, host: str, port: int, path_prefix: str, origin: Sequence[str]
) -> None:
    """Serve Dagster's pages to many tenants, each of which sees its own alone."""
    # Dagster's server is slow to import, and --help needs none of it
    from orchestrator_tenancy.tenant_store import open_tenants
    from orchestrator_tenancy.web.serving import BadServer, serve, sign_in_of

    if path_prefix and (not path_prefix.startswith("/") or path_prefix.endswith("/")):
        raise click.UsageError(f"--path-prefix begins with a slash and ends with none: {path_prefix!r}")
    try:
        with open_tenants() as directory:
            serve(
                directory,
                workspace,
                sign_in_of(sign_in),
                host=host,
                port=port,
                prefix=path_prefix,
                origins=origin,
            )
    except BadServer as error:
        raise click.ClickException(str(error)) from error
