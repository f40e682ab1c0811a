"""`orchestrator gateway`: a gateway of model calls for many runs and machines."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration file (YAML); read again when it changes, and on SIGHUP.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", default=8900, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.option(
    "--drain-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How long calls on their way have at the end.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    help="Certificate to show (PEM), read again when it changes; without it, no TLS.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM, not encrypted).")
@click.option("--check", is_flag=True, help="Only say whether the configuration can be used.")
def gateway(
    file: Path,
    host: str,
    port: int,
    drain_seconds: float,
    tls_certificate: Path | None,
    tls_key: Path | None,
    check: bool,
) -> None:
    """Serve model calls of agents: with aliases, several upstreams, and a journal that answers retries.

    Any number of gateways may share a journal. Runs find it by gateway_url of the resource agent_runtimes, or by
    ORCHESTRATOR_GATEWAY_URL.
    """
    # aiohttp is slow to import, and no other command needs it
    from orchestrator_gateway.configuration import BadConfiguration
    from orchestrator_gateway.journal import JournalUnavailable
    from orchestrator_gateway.resolution import resolve
    from orchestrator_gateway.service import run
    from orchestrator_gateway.telemetry import TelemetryUnavailable
    from orchestrator_gateway.tls_files import BadTlsFile, certificate_of

    try:
        certificate = certificate_of(tls_certificate, tls_key)
        if check:
            resolve(file)
            click.echo(f"{file}: can be used")
            return
        run(file, host, port, drain_seconds, certificate)
    except (BadConfiguration, BadTlsFile, JournalUnavailable, TelemetryUnavailable) as error:
        raise click.ClickException(str(error)) from error
