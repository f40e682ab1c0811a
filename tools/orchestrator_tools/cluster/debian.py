"""Debian's packages that the cluster runs with, unpacked into the cache: the machine's own packages stay as they are.

Nothing is installed, so no service starts, nothing is in Docker's way, and removing the folder removes everything.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.caches import cached, digest_of
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.steps import say

RELEASE: Final = "bookworm"
PACKAGES: Final[Mapping[str, str]] = {
    "buildah": "1.28.2",
    "containerd": "1.6.20",
    "containernetworking-plugins": "1.1.1",
    "debootstrap": "1.0.128",
    "e2fsprogs": "1.47.0",
    "etcd-server": "3.4.23",
    "golang-github-containers-common": "0.50.1",
    "iproute2": "6.1.0",
    "ipset": "7.17",
    "iptables": "1.8.9",
    "runc": "1.1.5",
}
"""By upstream version: Debian's security updates of it are taken as they come."""

DOWNLOAD_SECONDS: Final = 600.0
UNPACK_SECONDS: Final = 120.0


def release_of(os_release: str) -> str:
    """Return the code name in the text of `/etc/os-release`; empty when there is none."""
    lines = (line.partition("=") for line in os_release.splitlines())
    return next((value.strip('"') for key, _, value in lines if key == "VERSION_CODENAME"), "")


def require_release(os_release: str) -> None:
    """Refuse to go on on another system than the release that the packages are of.

    Raises:
        ClusterError: With what to do.
    """
    release = release_of(os_release)
    if release != RELEASE:
        raise ClusterError(
            f"the test cluster is made of packages of Debian {RELEASE}, and this machine runs"
            f" {release or 'another system'}: name a cluster that runs already with KUBECONFIG=path"
            " (docs/how-to/use-a-cluster.md)"
        )


def download_command(archives: Path, wanted: Sequence[str]) -> list[str]:
    """Return the command that downloads packages and what of their dependencies the machine lacks.

    Those that are installed are downloaded all the same: what runs with them must not depend on that.

    Args:
        archives: Where to.
        wanted: Names, each perhaps with `=` and a version.
    """
    return [
        "apt-get",
        "install",
        "--yes",
        "--download-only",
        "--reinstall",
        "--allow-downgrades",
        "--no-install-recommends",
        f"--option=Dir::Cache::archives={archives}",
        "--option=DPkg::Lock::Timeout=120",
        *wanted,
    ]


def unpacked_packages(cache: Path) -> Path:
    """Return the folder that the packages are unpacked in; download and unpack them when it is not there.

    Raises:
        ClusterError: The machine runs another system, or the packages cannot be had.
    """
    wanted = digest_of({name: version.encode() for name, version in PACKAGES.items()})
    return cached(cache / f"debian-{RELEASE}-{wanted}", _unpack)


def _unpack(tree: Path) -> None:
    require_release(Path("/etc/os-release").read_text())
    unpack(tree, [f"{name}={version}*" for name, version in PACKAGES.items()])
    for name in ("iptables", "iptables-restore", "iptables-save"):
        # installing the package would give its programs their names
        for family in (name, name.replace("ip", "ip6", 1)):
            (tree / "usr" / "sbin" / family).symlink_to("xtables-nft-multi")


def unpack(tree: Path, wanted: Sequence[str]) -> None:
    """Download packages, with what of their dependencies the machine lacks, and unpack them into a folder.

    Args:
        tree: The folder; made.
        wanted: Names, each perhaps with `=` and a version.

    Raises:
        ClusterError: They cannot be had.
    """
    say(f"downloading packages of Debian {RELEASE}: {', '.join(wanted)}")
    archives = tree / "archives"
    (archives / "partial").mkdir(parents=True)
    command = download_command(archives, wanted)
    try:
        run(command, seconds=DOWNLOAD_SECONDS)
    except ClusterError:
        say("reading the lists of packages again")
        run(["apt-get", "update"], seconds=DOWNLOAD_SECONDS)
        run(command, seconds=DOWNLOAD_SECONDS)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "--extract", archive, tree], seconds=UNPACK_SECONDS)
    shutil.rmtree(archives)


def tree_environment(tree: Path) -> dict[str, str]:
    """Return the variables with which programs of the unpacked packages find each other and their libraries."""
    libraries = tree / "usr" / "lib"
    return {
        "PATH": ":".join(f"{tree / folder}" for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
        + ":/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": ":".join(
            str(folder) for folder in (*libraries.glob("*-linux-gnu"), tree / "lib" / "x86_64-linux-gnu")
        ),
        "XTABLES_LIBDIR": str(next(iter(libraries.glob("*-linux-gnu/xtables")), libraries)),
        "DEBOOTSTRAP_DIR": str(tree / "usr" / "share" / "debootstrap"),
    }
