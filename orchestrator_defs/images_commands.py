"""`orchestrator images build`, `push` and `list`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator_cluster.images.wheels import ImageError
from orchestrator_defs.text_tables import text_table
from orchestrator_resources.environments import lock_digest

if TYPE_CHECKING:
    # pydantic is slow to import, and no other command needs it
    from orchestrator_cluster.images.builders import Builder
    from orchestrator_cluster.images.contexts import Bases
    from orchestrator_cluster.images.recipes import Recipe

REPOSITORY: Final = "localhost"

_OPTIONS: Final[Sequence[Callable[[Any], Any]]] = (
    click.argument("names", nargs=-1, metavar="[NAME|PROFILE.toml]..."),
    click.option(
        "--repository", default=REPOSITORY, show_default=True, help="Registry and path before the names."
    ),
    click.option(
        "--base", help="Image to build on: glibc and the Python of this command. Default: a public one."
    ),
    click.option(
        "--build-base", help="Image to make environments in; for n8n it needs a C++ compiler and make."
    ),
    click.option(
        "--builder", type=click.Choice(["docker", "buildah"]), help="Default: docker, else buildah."
    ),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class _Images(click.Group):
    """A group whose commands fail with the words of an error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ImageError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Images)
def images() -> None:
    """Container images: of the trusted side, the web server, the gateway, and the guests of each framework.

    NAME is dagster, web, gateway or a framework; PROFILE.toml is a runtime profile. A tag stands for what an image is
    made of (lock, our code, base), so what is built once need not be built again.
    """


@images.command("list")
@_with_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with the digests that locations are bound by."
)
def list_images(
    names: Sequence[str],
    repository: str,
    base: str | None,
    build_base: str | None,
    builder: str | None,
    as_json: bool,
) -> None:
    """List the images: whole name, size where it is built, licence of what is in it."""
    found = _builder_or_none(builder)
    rows = [
        {
            "name": recipe.name,
            "image": image,
            "size": found.size(image) if found is not None else None,
            "licence": recipe.licence,
            "environment": lock_digest(recipe.lock),
            "notice": recipe.notice,
        }
        for recipe, _, image in _chosen(names or _all_names(), repository, base, build_base)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    head = ["name", "image", "size", "licence"]
    click.echo(text_table([head, *([str(row[key] or "-") for key in head] for row in rows)]))


@images.command()
@_with_options
@click.option(
    "--archives",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that gets each image as an archive, NAME.tar, for clusters without a registry.",
)
@click.option("--again", is_flag=True, help="Build also what is there.")
@click.option("--quiet", is_flag=True, help="Show what the builder says only where it fails.")
def build(
    names: Sequence[str],
    repository: str,
    base: str | None,
    build_base: str | None,
    builder: str | None,
    archives: Path | None,
    again: bool,
    quiet: bool,
) -> None:
    """Build images; without a name, all whose licence says nothing unusual.

    Packages come as this user's uv and npm find them, from hashed locks; what these clients are told is in no image.
    """
    found = _builder(builder)
    for recipe, bases, image in _chosen(names or _all_names(unusual=False), repository, base, build_base):
        if recipe.notice:
            click.echo(f"{recipe.name}: {recipe.notice}")
        if again or found.size(image) is None:
            click.echo(f"{recipe.name}: building {image} with {found.name}, on {bases.run}")
            found.build(recipe, bases, image, lambda _line: None if quiet else click.echo(f"  {_line}"))
        click.echo(f"{recipe.name}: {image}, {found.size(image)}")
        if archives is not None:
            archives.mkdir(parents=True, exist_ok=True)
            found.save(image, archives / f"{recipe.name}.tar", lambda _line: None)


@images.command()
@_with_options
@click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="NAME",
    help="Push also this one, whose licence is unusual.",
)
def push(
    names: Sequence[str],
    repository: str,
    base: str | None,
    build_base: str | None,
    builder: str | None,
    accepted: Sequence[str],
) -> None:
    """Push images that are built; without a name, all whose licence says nothing unusual."""
    if repository == REPOSITORY:
        raise click.UsageError("say where to: --repository registry.example/team")
    found = _builder(builder)
    chosen = _chosen(names or _all_names(unusual=False), repository, base, build_base)
    for recipe, _, _ in chosen:
        if recipe.notice and recipe.name not in accepted:
            raise click.ClickException(
                f"{recipe.name}: {recipe.notice}. To push it to a registry of your own: --accept-licence {recipe.name}"
            )
    for recipe, _, image in chosen:
        found.push(image, lambda line: click.echo(f"  {line}"))
        click.echo(f"{recipe.name}: pushed {image}")


def _chosen(
    names: Sequence[str], repository: str, base: str | None, build_base: str | None
) -> "list[tuple[Recipe, Bases, str]]":
    from orchestrator_cluster.images.contexts import bases_of, reference
    from orchestrator_cluster.images.recipes import recipes_of

    found: list[tuple[Recipe, Bases, str]] = []
    for recipe in recipes_of(names):
        bases = bases_of(recipe, base, build_base)
        found.append((recipe, bases, reference(recipe, bases, repository)))
    return found


def _all_names(*, unusual: bool = True) -> list[str]:
    """Return the names of all images, or of those alone whose licence says nothing unusual."""
    from orchestrator_cluster.images.recipes import all_recipes

    return [recipe.name for recipe in all_recipes() if unusual or not recipe.notice]


def _builder(wanted: str | None) -> "Builder":
    from orchestrator_cluster.images.builders import find_builder

    return find_builder(wanted)


def _builder_or_none(wanted: str | None) -> "Builder | None":
    """Return the builder; None where there is none, since a list of names needs none."""
    try:
        return _builder(wanted)
    except ImageError:
        if wanted is not None:
            raise
        return None
