"""`orchestrator deploy`."""

import time
from pathlib import Path

import click

from orchestrator_cluster import deploys
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.deploys import DeployFailed
from orchestrator_cluster.images.wheels import ImageError


@click.command()
@click.argument("location")
@click.option("--image", help="Whole name of an image that is in the registry already.")
@click.option(
    "--build",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Project to build and push the image from; its Dockerfile, else its files on top of --base.",
)
@click.option("--repository", help="With --build: registry and path of the location's images.")
@click.option(
    "--base", help="With --build: the image to build on, as `orchestrator images list dagster` names it."
)
@click.option("--builder", type=click.Choice(["docker", "buildah"]), help="Default: docker, else buildah.")
@click.option("--namespace", help="Of the code server. Default: it is looked for.")
@click.option("--context", help="Of the Kubernetes configuration. Default: its current one.")
@click.option(
    "--timeout", "seconds", default=deploys.SECONDS, show_default=True, help="Seconds until it must serve."
)
def deploy(
    location: str,
    image: str | None,
    folder: Path | None,
    repository: str | None,
    base: str | None,
    builder: str | None,
    namespace: str | None,
    context: str | None,
    seconds: float,
) -> None:
    """Give the code location LOCATION another image: its code server alone is replaced, runs go on.

    Where the new code server does not serve, the location keeps the image that it had, and the reason is shown. Runs
    that begin afterwards have the new image. The operator says which repositories a location's images may come from.
    """
    if (image is None) == (folder is None):
        raise click.UsageError("say either --image, or --build with the project's folder")
    # slow to import, and no other command needs them
    from orchestrator_cluster.code_servers import ClusterCodeServers

    began = time.monotonic()
    try:
        deploys.check_name(location)
        servers = ClusterCodeServers(context)
        if folder is not None:
            image = _built(folder, location, repository, base, builder)
        assert image is not None
        done = deploys.deploy(servers, location, image, click.echo, namespace=namespace, seconds=seconds)
    except (DeployFailed, ImageError) as error:
        raise click.ClickException(str(error)) from error
    except ClusterAway as error:
        raise click.ClickException(f"the cluster does not do it: {error}") from error
    click.echo(
        f"{location}: serves {image} after {done.seconds:.1f} s ({time.monotonic() - began:.1f} s in all)"
    )


def _built(folder: Path, location: str, repository: str | None, base: str | None, builder: str | None) -> str:
    """Build and push the image of a project, unless it is there, and return its whole name."""
    from orchestrator_cluster.images.builders import find_builder
    from orchestrator_cluster.images.location_images import location_image

    if repository is None:
        raise click.UsageError(
            "with --build, say where the image goes: --repository registry.example/team/agents"
        )
    return location_image(
        folder, repository, base, find_builder(builder), lambda line: click.echo(f"  {line}")
    )
