"""A framework as data: what the trusted side must know of it without importing it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Final, Literal

from orchestrator_runtimes.capabilities import MANDATORY, Capability, Support
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock, NodeLock

ENTRY_POINT_GROUP: Final = "orchestrator.frameworks"


@dataclass(frozen=True, kw_only=True)
class FrameworkProfile:
    """What differs between frameworks, declared once.

    Attributes:
        name: Short lower-case name, used in `framework: NAME`.
        title: The name as its makers write it.
        package: Import name of the adapter's package; it holds `lock_file` and the adapter.
        adapter: `module:Class` of the adapter. Imported in the guest only, since it imports the framework.
        distribution: Name of the framework's distribution in a package index.
        requirements: What the lock was resolved from, one requirement each.
        lock_file: Hashed requirements, as a file inside `package`.
        licence: SPDX expression of the framework.
        homepage: Where its documentation is.
        native: The framework's own types that `entrypoint` may name, for documentation and errors.
        environment: Environment variables the guest must start with, such as telemetry switches.
        capabilities: One entry for each `Capability`.
        cancel: `task` when cancelling ends the work at once; `next_call` when a thread runs on until its next
            model or tool call and is stopped there.
        program: The module that the framework's interpreter runs as the guest.
        entrypoint: What the entrypoint of a native agent names: `module:attribute`, or a file of its code.
        notice: What whoever installs it must know of its licence; empty when there is nothing unusual.
        template: A native agent to begin with, as a file in the folder `templates` of `package`.
        node_lock_file: Lock of Node packages (`package-lock.json`), as a file inside `package` beside its
            `package.json`; None when the framework needs none.
        shared: Whether a guest costs so much that all runs of a user use the same one.
        replace_above_mb: Resident memory in MiB above which a guest is replaced; None sets no bound.
        own_ports: How many ports of loopback a guest listens on for itself; it finds them in ORCHESTRATOR_PORTS where
            its network is locked.
    """

    name: str
    title: str
    package: str
    adapter: str
    distribution: str
    requirements: tuple[str, ...]
    lock_file: str
    licence: str
    homepage: str
    native: tuple[str, ...]
    environment: Mapping[str, str]
    capabilities: Mapping[Capability, Support]
    cancel: Literal["task", "next_call"]
    program: str = "orchestrator_runtimes"
    entrypoint: Literal["attribute", "file"] = "attribute"
    template: str = "agent.py"
    notice: str = ""
    node_lock_file: str | None = None
    shared: bool = False
    replace_above_mb: int | None = None
    own_ports: int = 0

    def __post_init__(self) -> None:
        """Reject a profile that leaves a capability unsaid or lacks a mandatory one."""
        unsaid = [c.value for c in Capability if c not in self.capabilities]
        lacking = [
            c.value for c in MANDATORY if c in self.capabilities and not self.capabilities[c].supported
        ]
        if unsaid or lacking:
            raise ValueError(f"profile {self.name!r}: unsaid {unsaid}, mandatory but unsupported {lacking}")

    def lock(self) -> Lock:
        """Return the lock that ships inside the adapter's package."""
        folder = files(self.package)
        python = folder.joinpath(self.lock_file).read_text()
        if self.node_lock_file is None:
            return Lock(python=python)
        package = folder.joinpath("package.json").read_text()
        return Lock(
            python=python,
            node=NodeLock(package=package, lock=folder.joinpath(self.node_lock_file).read_text()),
        )

    def packages(self) -> tuple[str, ...]:
        """Return the packages of ours that a guest of this framework imports: the contract and the adapter's."""
        return tuple(sorted({__name__.partition(".")[0], self.package.partition(".")[0]}))


def installed_frameworks() -> dict[str, FrameworkProfile]:
    """Return every framework whose adapter is installed beside this package, by name.

    Raises:
        AgentError: `framework_error` when two plug-ins claim one name, or one is no profile or cannot be imported.
    """
    return dict(_frameworks_on(tuple(sys.path)))


@lru_cache(maxsize=1)  # one look at every distribution takes 15 ms
def _frameworks_on(_path: tuple[str, ...]) -> Mapping[str, FrameworkProfile]:
    found: dict[str, FrameworkProfile] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        try:
            profile = point.load()
        except Exception as error:  # the boundary: importing a plug-in runs code that is not ours
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR,
                f"the plug-in of the framework {point.name!r} ({point.value}) cannot be imported",
                cause=f"{type(error).__name__}: {error}",
            ) from error
        if not isinstance(profile, FrameworkProfile) or profile.name != point.name:
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR,
                f"entry point {point.name!r} ({point.value}) is not the profile of a framework of that name",
            )
        if point.name in found:
            raise AgentError(ErrorCode.FRAMEWORK_ERROR, f"two plug-ins offer the framework {point.name!r}")
        found[point.name] = profile
    return found
