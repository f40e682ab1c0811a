"""The image of a code location: a team's project on top of the image that Dagster runs in."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from orchestrator_cluster.images.builders import Builder, Tell
from orchestrator_cluster.images.wheels import ImageError

PROJECT: Final = "/project"
"""Where a project's files are in its image; they can be imported from there."""

_DIGITS: Final = 16
_LEFT_OUT: Final = (
    *(".git", ".venv", "__pycache__", "*.pyc", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"),
    # where secrets lie
    *(".env", ".env.*", ".netrc", ".npmrc", ".pypirc"),
)
"""Names that no image holds, in any folder."""
_DOCKERFILE: Final = f"""\
ARG BASE
FROM ${{BASE}}
COPY project {PROJECT}
ENV PYTHONPATH={PROJECT}
WORKDIR {PROJECT}
"""


def location_image(folder: Path, repository: str, base: str | None, builder: Builder, tell: Tell) -> str:
    """Build the image of a project, unless it is built, push it, and return its whole name.

    A project with a Dockerfile is built by that, with the build argument `BASE`. Any other is copied onto the base.
    What the builder sees is a copy without environments, caches, and files that hold secrets by their names. The tag
    stands for all that is in it, the Dockerfile and the base.

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
        context = Path(made, "context")
        try:
            if own.is_file():
                _copy(folder, context)
            else:
                _copy(folder, context / "project")
                (context / "Dockerfile").write_text(_DOCKERFILE)
        except (shutil.Error, OSError) as error:
            raise ImageError(f"the project {str(folder)!r} cannot be copied: {error}") from error
        image = f"{repository.rstrip('/')}:{_tag(context, base)}"
        if builder.size(image) is None:
            arguments = {} if base is None else {"BASE": base}
            builder.build_project(context, context / "Dockerfile", image, arguments, tell)
    builder.push(image, tell)
    return image


def _copy(folder: Path, to: Path) -> None:
    """Copy a project; a link stays one, and leads to nothing outside of the image."""
    shutil.copytree(folder, to, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def _tag(context: Path, base: str | None) -> str:
    """Return the tag: a digest of everything that the image is made of."""
    digest = hashlib.sha256((base or "").encode())
    for path in sorted(context.rglob("*")):
        if path.is_symlink():
            kind, content = "link", os.readlink(path).encode()
        elif path.is_file():
            kind, content = "program" if path.stat().st_mode & 0o100 else "file", path.read_bytes()
        else:
            continue
        for part in (path.relative_to(context).as_posix().encode(), kind.encode(), content):
            digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:_DIGITS]
