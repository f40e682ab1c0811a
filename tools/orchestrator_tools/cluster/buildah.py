"""buildah from the unpacked packages, with a store of its own in the cache and mounts of its own.

`python -m orchestrator_tools.cluster.buildah WORDS` is that buildah as a program, for `orchestrator images`.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.places import places
from orchestrator_tools.steps import CHECKOUT

_ALONE: Final = """\
mkdir -p "$1" && mount -t overlay -o "lowerdir=$2:$3" overlay "$3" && mount -t tmpfs tmpfs /var/lib \\
  && mkdir /var/lib/containers && mount --bind "$1" /var/lib/containers && shift 3 && exec "$@"
"""
"""buildah starts itself again without its variables, so its libraries must be where the machine's are; and it keeps
more in `/var/lib` than it can be told to keep elsewhere. What it learns there of layers that it has pushed stays: it
would compress them all again each time."""
_SETTINGS: Final = '[network]\nnetwork_config_dir = "/var/lib/networks"\n'
_SIGNED: Final = frozenset({"build", "pull", "push"})
"""The verbs that ask whose signatures to believe; Debian's policy is not where they look for it."""


def buildah_environment(tree: Path, cache: Path) -> dict[str, str]:
    """Return the variables of a command of buildah, beside those of this process."""
    folder = cache / "buildah"
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    settings = folder / "containers.conf"
    settings.write_text(_SETTINGS)
    return {
        **tree_environment(tree),
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_CONF": str(settings),
        "TMPDIR": str(folder / "tmp"),  # also of what builds keep between them
    }


def buildah_command(tree: Path, cache: Path, words: Sequence[str]) -> list[str]:
    """Return a command of buildah: its verb, then the rest."""
    store = cache / "buildah"
    configuration = tree / "etc" / "containers"
    options = [
        f"--root={store / 'store'}",
        f"--runroot={store / 'run'}",
        "--storage-driver=overlay",
        f"--registries-conf={configuration / 'registries.conf'}",
    ]
    verb, *rest = words
    signed = [f"--signature-policy={configuration / 'policy.json'}"] if verb in _SIGNED else []
    (libraries,) = tree.glob("usr/lib/*-linux-gnu")
    here = f"/{libraries.relative_to(tree)}"
    alone = ["unshare", "--mount", "sh", "-c", _ALONE, "sh", str(store / "learned"), str(libraries), here]
    return [*alone, "buildah", *options, verb, *signed, *rest]


def buildah_program(cache: Path) -> Path:
    """Return a folder for `PATH` that holds this buildah as a program."""
    folder = cache / "buildah" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program, new = folder / "buildah", folder / f".buildah.{os.getpid()}"
    tools = CHECKOUT / "tools"
    new.write_text(
        f'#!/bin/sh\nPYTHONPATH={tools} exec {sys.executable} -m orchestrator_tools.cluster.buildah "$@"\n'
    )
    new.chmod(0o755)
    new.rename(program)
    return folder


def main() -> None:
    """Become buildah."""
    cache = places().cache
    tree = unpacked_packages(cache)
    command = buildah_command(tree, cache, sys.argv[1:])
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execvpe(command[0], command, {**own, **buildah_environment(tree, cache)})


if __name__ == "__main__":
    main()
