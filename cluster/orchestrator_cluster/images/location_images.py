"""The image of a code location: a team's project on top of the image that Dagster runs in."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator_cluster.images.builders import Builder, Tell
from orchestrator_cluster.images.wheels import ImageError

PROJECT: Final = "/project"
"""Where a project's files are in its image; they can be imported from there."""

_DIGITS: Final = 16
_LEFT_OUT: Final = (".git", ".venv", "__pycache__", ".dagster", ".env", "*.pyc", "node_modules", "var")
_DOCKERFILE: Final = f"""\
ARG BASE
FROM ${{BASE}}
COPY project {PROJECT}
ENV PYTHONPATH={PROJECT}
WORKDIR {PROJECT}
"""


def location_image(folder: Path, repository: str, base: str | None, builder: Builder, tell: Tell) -> str:
    """Build the image of a project, unless it is built, push it, and return its whole name.

    A project with a Dockerfile is built by that, with the build argument `BASE`. Any other is copied onto the base,
    without environments and caches, and without `.env`. The tag stands for files, Dockerfile and base.

    Args:
        folder: The project.
        repository: Registry and path of the image.
        base: The image that it is built on; None where a Dockerfile says so itself.
        builder: What builds.
        tell: Takes a line of progress.

    Raises:
        ImageError: It cannot be built or pushed.
    """
    own = folder / "Dockerfile"
    if base is None and not own.is_file():
        raise ImageError(
            f"{str(folder)!r} has no Dockerfile: say what to build on with --base, as"
            " `orchestrator images list dagster` names it"
        )
    with tempfile.TemporaryDirectory(prefix="image-") as made:
        context, dockerfile = folder, own
        if not own.is_file():
            context, dockerfile = Path(made), Path(made, "Dockerfile")
            dockerfile.write_text(_DOCKERFILE)
            shutil.copytree(folder, context / "project", ignore=shutil.ignore_patterns(*_LEFT_OUT))
        image = f"{repository.rstrip('/')}:{_tag(context, dockerfile, base)}"
        if builder.size(image) is None:
            builder.build_project(context, dockerfile, image, {} if base is None else {"BASE": base}, tell)
    builder.push(image, tell)
    return image


def _tag(context: Path, dockerfile: Path, base: str | None) -> str:
    """Return the tag: a digest of everything that the image is made of."""
    digest = hashlib.sha256((base or "").encode() + b"\0" + dockerfile.read_bytes())
    for path in _files(context):
        mode = b"x" if path.stat().st_mode & 0o100 else b"-"
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(path.relative_to(context).as_posix().encode() + b"\0" + mode + content)
    return digest.hexdigest()[:_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a context in a fixed order, without what no image is to hold."""
    ignored = shutil.ignore_patterns(*_LEFT_OUT)
    there = sorted(folder.iterdir())
    left_out = ignored(str(folder), [path.name for path in there])
    for path in there:
        if path.name in left_out or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
