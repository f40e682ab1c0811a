"""What a builder is given for an image: a Dockerfile, the environment's lock, our wheels; and the tag of it all."""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from orchestrator_cluster.images.install import CODE, HOME
from orchestrator_cluster.images.package_clients import image_platform
from orchestrator_cluster.images.recipes import Recipe
from orchestrator_cluster.images.wheels import ImageError
from orchestrator_resources.environments import lock_digest, uv

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Of the images, as of the process that has them built: environments are named by it."""

ENVIRONMENT_LABEL: Final = "orchestrator.environment"

INSTALLER: Final = {
    "orchestrator_cluster": ("__init__.py",),
    "orchestrator_cluster/images": ("__init__.py", "install.py"),
    "orchestrator_resources": ("__init__.py", "environments.py", "installers.py", "node_packages.py"),
    "orchestrator_runtimes": ("__init__.py", "errors.py", "locks.py"),
}
"""The modules of ours that make an environment: no others, so that a change of others does not make it anew."""

_PUBLIC: Final[Mapping[str, tuple[str, str]]] = {
    "3.11": (
        "3.11-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3",
        "3.11-bookworm@sha256:a8f8fbe1a0edc9e4dddafa64ba73f7e04be7be5ebc23f332362e779e0a2e4e52",
    ),
    "3.12": (
        "3.12-slim-bookworm@sha256:4766d8b510c428e595d74b9cc5bbb2fae8e26316fffb4adc89908d79aacd58a2",
        "3.12-bookworm@sha256:3cd9086bdb30f7c9bc08a3fa621d9842e0d3f6f9291aeb4677e0547817c10b12",
    ),
    "3.13": (
        "3.13-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8",
        "3.13-bookworm@sha256:8b9a8b28d9cc221c6ab5d40e9cfcd99429959f6a8f5171612a99147975ab043f",
    ),
}
"""By Python: the public image that images are built on, and the one with compilers, which no image keeps a part of."""

_REPOSITORY: Final = "docker.io/library/python"
_DIGITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Bases:
    """What an image is built on.

    Attributes:
        run: The base of the image: glibc, and `python3` of the version `PYTHON`.
        build: What its environment is made in: the same, and a C++ compiler where something is compiled.
    """

    run: str
    build: str


def bases_of(recipe: Recipe, run: str | None = None, build: str | None = None) -> Bases:
    """Return the bases of an image: those that are named, else public ones."""
    slim, whole = (f"{_REPOSITORY}:{tag}" for tag in _PUBLIC[PYTHON])
    compiles = recipe.lock.node is not None
    return Bases(run=run or slim, build=build or (whole if compiles and run is None else run or slim))


def dockerfile(recipe: Recipe, python: str = PYTHON) -> str:
    """Return the Dockerfile of an image.

    Environment and code are layers of their own: a change of ours sends a few megabytes.
    """
    environment = f"{HOME}/environments/cpython-{python}/{lock_digest(recipe.lock)}"
    mounts = " ".join(
        f"--mount=type={mount}"
        for mount in (
            "secret,id=packages",
            "secret,id=certificates",
            "cache,target=/cache",
            "tmpfs,target=/settings",
        )
    )
    labels = {
        "org.opencontainers.image.title": recipe.image,
        "org.opencontainers.image.description": f"{recipe.kind}, of agent-orchestrator",
        "org.opencontainers.image.licenses": recipe.licence,
        ENVIRONMENT_LABEL: lock_digest(recipe.lock),
    }
    told = " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return f"""\
ARG BASE
ARG BUILD_BASE

FROM ${{BUILD_BASE}} AS environment
USER 0
COPY installer /build/installer
COPY environment.json /build/environment.json
ENV PYTHONPATH=/build/installer
RUN {mounts} ["python3", "-m", "orchestrator_cluster.images.install", "environment"]

FROM environment AS code
COPY wheels /build/wheels
RUN --mount=type=tmpfs,target=/settings ["python3", "-m", "orchestrator_cluster.images.install", "code"]

FROM ${{BASE}}
COPY --from=environment {HOME} {HOME}
COPY --from=code {CODE} {CODE}
ENV PATH={CODE}/bin:{environment}/bin:/usr/local/bin:/usr/bin:/bin
ENV HOME=/tmp USER=orchestrator LANG=C.UTF-8
LABEL {told}
USER {recipe.user}:{recipe.user}
WORKDIR /tmp
ENTRYPOINT []
CMD {json.dumps(recipe.command)}
"""


def tag_of(recipe: Recipe, bases: Bases) -> str:
    """Return the tag of an image: it stands for its lock, our code, its bases, its platform and the way it is made.

    Raises:
        ImageError: A distribution of ours is not installed here.
    """
    digest = hashlib.sha256()
    parts = [
        image_platform().encode(),
        dockerfile(recipe).encode(),
        bases.run.encode(),
        bases.build.encode(),
        _lock_text("installer"),
    ]
    parts += [path.read_bytes() for path in _installer_files().values()]
    parts += [one.wheel() for one in recipe.distributions]
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:_DIGITS]


def reference(recipe: Recipe, bases: Bases, repository: str) -> str:
    """Return the whole name of an image, such as `registry.example/team/orchestrator-agno:TAG`."""
    return f"{repository.rstrip('/')}/{recipe.image}:{tag_of(recipe, bases)}"


def write_context(recipe: Recipe, folder: Path) -> None:
    """Write what the builder of an image copies from.

    Args:
        recipe: The image.
        folder: It is there, and empty.

    Raises:
        AgentError: `agent_load_failed` when the installer cannot be had.
        ImageError: A distribution of ours is not installed here.
    """
    (folder / "Dockerfile").write_text(dockerfile(recipe))
    lock = recipe.lock
    # without the image's name: images of one environment have its layers in common
    wanted: dict[str, object] = {"python": PYTHON, "lock": lock.python}
    wanted["node"] = asdict(lock.node) if lock.node is not None else None
    (folder / "environment.json").write_text(json.dumps(wanted))
    for name, path in _installer_files().items():
        (folder / "installer" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / "installer" / name)
    install_uv(folder / "installer")
    (folder / "wheels").mkdir()
    for one in recipe.distributions:
        (folder / "wheels" / one.wheel_name).write_bytes(one.wheel())


def install_uv(folder: Path) -> None:
    """Install the locked uv of the images' platform, which may be another one than this machine's.

    Raises:
        AgentError: `agent_load_failed` when it cannot be had.
    """
    lock = folder / "installer.txt"
    lock.write_bytes(_lock_text("installer"))
    uv(
        "pip", "install", "--target", str(folder), "--python", sys.executable, "--python-version", PYTHON,
        "--python-platform", image_platform(), "--no-deps", "--require-hashes", "--link-mode", "copy",
        "--requirement", str(lock), name="the installer",
    )  # fmt: skip


def _installer_files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, names in INSTALLER.items():
        package = files(folder.replace("/", "."))
        found |= {f"{folder}/{name}": Path(str(package.joinpath(name))) for name in names}
    missing = [name for name, path in found.items() if not path.is_file()]
    if missing:
        raise ImageError(f"{missing[0]} is not installed as a file here, so no image can be built")
    return found


def _lock_text(name: str) -> bytes:
    return files("orchestrator_cluster.images").joinpath(f"{name}.txt").read_bytes()
