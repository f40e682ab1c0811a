"""`orchestrator publish`: an agent of one's own goes out, evaluated first; a line for each step."""

import sys
from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("what", metavar="FOLDER|ASSET")
@click.option("--registry", required=True, help="OCI registry to push to, perhaps with a prefix.")
@click.option("--key", "file", required=True, type=_FILE, help="Private key of the publisher, PEM.")
@click.option(
    "--at",
    "url",
    envvar="ORCHESTRATOR_MARKETPLACE",
    show_envvar=True,
    help="Address of the marketplace that is asked for a review; without it none is.",
)
@click.option(
    "--days", type=click.IntRange(1, 3_650), default=365, show_default=True, help="How long it holds."
)
@click.option("--source", help="Where the folder is from: the address of its repository.")
@click.option("--commit", help="Commit of the source.")
@click.option(
    "--layouts",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where what is built is kept, an OCI image layout for each version; default below ORCHESTRATOR_HOME.",
)
@click.option("--insecure", is_flag=True, help="Speak plain HTTP to a registry that is not on this machine.")
def publish(
    what: str,
    registry: str,
    file: Path,
    url: str | None,
    days: int,
    source: str | None,
    commit: str | None,
    layouts: Path | None,
    *,
    insecure: bool,
) -> None:
    """Publish the bundle in FOLDER, or the agent ASSET of the project here, whose folder has a bundle.yaml.

    It is built, evaluated on its own cases in its framework's runtime, signed, pushed, and submitted to the
    marketplace. Where it does not reach the thresholds of its manifest, it is refused, and nothing leaves this machine.
    The same command goes on where an earlier one ended: what is done is not done again.
    """
    # Dagster is slow to import, and few commands need it
    from orchestrator_marketplace.signing_keys import load_private_key
    from orchestrator_marketplace.statements import Source
    from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES
    from orchestrator_sensors import releases
    from orchestrator_sensors.release_folders import agent_folder, loaded_alone, read_releasable

    if commit is not None and source is None:
        raise click.UsageError("--commit is of a --source")
    destination = releases.Destination(
        registry=registry,
        key=load_private_key(file),
        marketplace=url or None,
        days=days,
        source=None if source is None else Source(uri=source, commit=commit),
        insecure=insecure,
    )
    # as `python -m` does, so that the project here is found though it is not installed
    sys.path[:0] = [str(Path.cwd()), str(Path.cwd() / "src")]
    folder = Path(what) if Path(what).is_dir() else agent_folder(Path.cwd(), what)
    kept = layouts or releases.release_layouts()
    release = releases.Release(read_releasable(folder.resolve(), loaded_alone), destination, kept)
    releases.publish(
        release,
        lambda: AGENT_RUNTIMES.opened(kept / ".state", lambda line: click.echo(line, err=True)),
        lambda done: click.echo(str(done)),
    )
