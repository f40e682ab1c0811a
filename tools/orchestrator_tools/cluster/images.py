"""Images for the test cluster without a registry and without Docker: a base of Debian, builds, the import.

An image is an archive in the cache; its file is named by what it is made from. Nothing can be pulled from inside the
cluster, so pods name these images with `imagePullPolicy: Never` or `IfNotPresent` and a tag that is not `latest`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.buildah import buildah_command, buildah_environment
from orchestrator_tools.cluster.caches import cached, digest_of, remove
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.debian import RELEASE, tree_environment, unpacked_packages
from orchestrator_tools.cluster.go_programs import COREDNS, PAUSE, GoProgram, built_program
from orchestrator_tools.cluster.image_archives import layer_of_programs, write_image
from orchestrator_tools.cluster.settings import PAUSE_IMAGE
from orchestrator_tools.steps import say

BASE_IMAGE: Final = "localhost/orchestrator-base:1"
"""Debian with its Python: what the images of tests are built on."""
BASE_PACKAGES: Final = ("ca-certificates", "python3")
BUILD_BASE_IMAGE: Final = "localhost/orchestrator-build-base:1"
"""The same with a C++ compiler, for environments in which something is compiled, and for what needs OpenMP."""
BUILD_PACKAGES: Final = (*BASE_PACKAGES, "g++", "make")
DNS_IMAGE: Final = "localhost/coredns:1"

BOOTSTRAP_SECONDS: Final = 900.0
BUILD_SECONDS: Final = 3_600.0
TAR_SECONDS: Final = 300.0

_LEFT_OUT: Final = (
    "./dev/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
)


def program_image(program: GoProgram, name: str, cache: Path) -> Path:
    """Return the archive of an image that holds one program, `/NAME`, alone; make it when it is not there."""
    file = built_program(program, cache)

    def make(archive: Path) -> None:
        layer = archive.with_suffix(".layer")
        layer_of_programs(layer, {program.name: file})
        write_image(archive, name, layer, entrypoint=(f"/{program.name}",))
        layer.unlink()

    return cached(cache / "images" / f"{file.parent.name}.tar", make)


def cluster_images(cache: Path) -> tuple[Path, ...]:
    """Return the archives of the images that the cluster itself needs."""
    return program_image(PAUSE, PAUSE_IMAGE, cache), program_image(COREDNS, DNS_IMAGE, cache)


def base_image(cache: Path) -> Path:
    """Return the archive of `BASE_IMAGE`; make it with debootstrap when it is not there. Needs root.

    Raises:
        ClusterError: It cannot be made.
    """
    return _base("base", BASE_IMAGE, BASE_PACKAGES, cache)


def build_base_image(cache: Path) -> Path:
    """Return the archive of `BUILD_BASE_IMAGE`, in the same way.

    Raises:
        ClusterError: It cannot be made.
    """
    return _base("build-base", BUILD_BASE_IMAGE, BUILD_PACKAGES, cache)


def _base(kind: str, name: str, packages: Sequence[str], cache: Path) -> Path:
    words = {"packages": packages, "left out": _LEFT_OUT}
    made_from = digest_of({what: " ".join(value).encode() for what, value in words.items()})
    archive = cache / "images" / f"{kind}-{RELEASE}-{made_from}.tar"
    return cached(archive, lambda new: _make_base(new, name, packages, cache))


def _make_base(archive: Path, name: str, packages: Sequence[str], cache: Path) -> None:
    say(f"making {name}: Debian {RELEASE} with {', '.join(packages)}")
    root, layer = archive.with_suffix(".root"), archive.with_suffix(".layer")
    remove(root)
    # in namespaces of its own: whatever it leaves mounted or running ends with it
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    words = (
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        RELEASE,
        root,
        mirror(),
    )
    environment = tree_environment(unpacked_packages(cache))
    run([*alone, *words], seconds=BOOTSTRAP_SECONDS, environment=environment)
    run(tar_command(root, layer), seconds=TAR_SECONDS)
    remove(root)
    write_image(archive, name, layer)
    layer.unlink()


def mirror() -> str:
    """Return the mirror that this machine takes Debian from.

    Raises:
        ClusterError: apt has none for the release.
    """
    found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {RELEASE}"], seconds=60)
    if not found.strip():
        raise ClusterError(f"apt knows no source of Debian {RELEASE}: run `apt-get update`")
    return found.split()[0]


def tar_command(root: Path, layer: Path) -> list[str]:
    """Return the command that packs a system's files, without what a container does not need."""
    excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    fixed = ["--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu"]
    return ["tar", "--create", f"--file={layer}", *fixed, *excluded, f"--directory={root}", "."]


def build_image(
    context: Path,
    name: str,
    archive: Path,
    cache: Path,
    *,
    dockerfile: Path | None = None,
    arguments: Mapping[str, str] | None = None,
    network: Path | None = None,
) -> Path:
    """Build an image from a Dockerfile and write its archive. Needs root.

    A Dockerfile takes its base as a build argument, so that it can be `BASE_IMAGE` here and a public one elsewhere.

    Args:
        context: The folder that the Dockerfile copies from; like the archive not below `/var/lib`.
        name: Of the image, with its tag.
        archive: The file to write; it is replaced.
        cache: Where layers are kept between builds.
        dockerfile: None for the one of the context.
        arguments: Build arguments.
        network: A network namespace to build in; None for that of this process. Tests run in the cluster's, from which
            no package can be had.

    Returns:
        The archive.

    Raises:
        ClusterError: The build failed; with the end of what it said.
    """
    tree = unpacked_packages(cache)
    pulled = ["pull", f"docker-archive:{base_image(cache)}"]
    given = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    file = dockerfile or context / "Dockerfile"
    build = [
        "build",
        "--layers",
        f"--file={file}",
        f"--tag={name}",
        *given,
        str(context),
    ]
    enter = [] if network is None else ["nsenter", f"--net={network}", "--"]
    archive.unlink(missing_ok=True)
    push = ["push", name, f"docker-archive:{archive}:{name}"]
    environment = buildah_environment(tree, cache)
    for words in (pulled, build, push):
        run([*enter, *buildah_command(tree, cache, words)], seconds=BUILD_SECONDS, environment=environment)
    return archive
