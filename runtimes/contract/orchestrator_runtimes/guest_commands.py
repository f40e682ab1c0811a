"""How a guest is started: scrubbed environment, its own folder, under a guardian."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator_runtimes import guardian
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.profiles import FrameworkProfile
from orchestrator_runtimes.served_networks import ServedNetwork

PASSED_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that a guest inherits from the environment of the trusted side: no secrets, no proxies, no Python settings."""

MODEL_ENVIRONMENT: Final[Mapping[str, str]] = {
    "OPENAI_BASE_URL": "http://model.invalid/v1",
    "OPENAI_API_BASE": "http://model.invalid/v1",
    "OPENAI_API_KEY": "not-a-key",
}
"""What a guest starts with, so that agents build their clients; the address is replaced for each call."""

GRACE_SECONDS: Final = 5.0
MAX_EXECUTIONS: Final = 200


@dataclass(frozen=True, kw_only=True)
class GuestCommand:
    """How a guest is started.

    Attributes:
        framework: Name of the framework's profile, for errors.
        python: Interpreter of the framework's environment.
        adapter: `module:Class`.
        packages: Import names of the packages of ours that the guest sees: the contract and the adapter's.
        program: The module that `python` runs.
        environment: Variables set beside those that pass.
        max_executions: How many executions it runs at once.
        memory_mb: Limit of its data in MiB; None sets none.
        grace_seconds: How long it may take to stop before it is killed.
        spare_seconds: How long a guest that was started ahead waits for someone to use it; 0 uses none.
        shared: Whether all runs of this user use one guest at a time, which waits for the next run in between. It
            needs `spare_seconds`.
        replace_above_mb: A guest with more resident memory, in MiB, is replaced when its executions have ended; None:
            never.
        gateways: Folder of the sockets of the gateways that are all the guest can reach; None leaves its network open.
        gateway_port: All that the guest can connect to by TCP, in a network that it shares; None leaves that open.
        own_ports: What it may listen on then, of loopback.
        served: Socket of the guest server that starts the guest, in another container and with an interpreter of its
            own: `python`, `adapter`, `packages` and `program` are not used then. None starts it here.
        network: What is expected of the network of guests that a server starts; None expects nothing.
    """

    framework: str
    python: Path
    adapter: str
    packages: tuple[str, ...]
    program: str = "orchestrator_runtimes"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    max_executions: int = MAX_EXECUTIONS
    memory_mb: int | None = None
    grace_seconds: float = GRACE_SECONDS
    spare_seconds: float = 0.0
    shared: bool = False
    replace_above_mb: int | None = None
    gateways: Path | None = None
    gateway_port: int | None = None
    own_ports: tuple[int, ...] = ()
    served: Path | None = None
    network: ServedNetwork | None = None

    @property
    def own(self) -> "GuestCommand":
        """The same for a guest that nobody else uses, now or later."""
        return replace(self, spare_seconds=0.0, shared=False)

    @classmethod
    def of(cls, profile: FrameworkProfile, python: Path, **more: Any) -> "GuestCommand":
        """Return how a guest of a framework is started.

        Args:
            profile: The framework.
            python: Interpreter of its environment.
            more: Further fields; `environment` is set beside the profile's.
        """
        environment = {**profile.environment, **more.pop("environment", {})}
        return cls(
            framework=profile.name,
            python=python,
            adapter=profile.adapter,
            packages=profile.packages(),
            program=profile.program,
            shared=profile.shared,
            replace_above_mb=profile.replace_above_mb,
            environment=environment,
            **more,
        )


def guest_environment(command: GuestCommand, folder: Path) -> dict[str, str]:
    """Return the whole environment of a guest whose folder is `folder`."""
    passed = {name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ}
    own = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(folder / "packages"),
    }
    if command.own_ports:
        own["ORCHESTRATOR_PORTS"] = _numbers(command.own_ports)
    return {**passed, **own, "PYTHONUNBUFFERED": "1", **MODEL_ENVIRONMENT, **command.environment}


def _numbers(ports: tuple[int, ...]) -> str:
    return ",".join(map(str, ports))


def guest_address(folder: Path) -> str:
    """Return where the guest of a folder listens."""
    return f"unix:{folder / 'socket'}"


def guardian_words(command: GuestCommand, folder: Path, *options: str) -> list[str]:
    """Return the command line of a guardian and its guest; `options` are further ones of the guardian."""
    words = [sys.executable, "-I", "-S", guardian.__file__, "--folder", str(folder)]
    words += ["--grace", str(command.grace_seconds), *options]
    if command.memory_mb is not None:
        words += ["--memory-mb", str(command.memory_mb)]
    if command.gateways is not None:
        words += ["--gateways", str(command.gateways)]
    if command.gateway_port is not None:
        words += ["--gateway-port", str(command.gateway_port)]
        words += ["--own-ports", _numbers(command.own_ports)] if command.own_ports else []
    words += ["--", str(command.python), "-P", "-m", command.program, "--adapter", command.adapter]
    words += ["--listen", guest_address(folder), "--folder", str(folder)]
    return [*words, "--max-executions", str(command.max_executions)]


def make_guest_folder(command: GuestCommand) -> Path:
    """Make the only folder that a guest writes to, with links to the few packages of ours that it may import.

    Raises:
        AgentError: `agent_load_failed` when one of the packages is not installed, `runtime_crashed` when the folder
            cannot be made.
    """
    links = {package: package_folder(package) for package in command.packages}
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"guest-{command.framework[:20]}-"))
    except OSError as error:
        raise _no_folder(error) from error
    try:
        for name in ("home", "tmp", "packages"):
            (folder / name).mkdir()
        for package, target in links.items():
            (folder / "packages" / package).symlink_to(target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _no_folder(error) from error
    return folder


def _no_folder(error: OSError) -> AgentError:
    return AgentError(
        ErrorCode.RUNTIME_CRASHED,
        f"the runtime cannot be started: no folder for it can be made in {tempfile.gettempdir()!r}",
        cause=str(error),
    )


def package_folder(package: str) -> Path:
    """Return where a package of ours is installed.

    Raises:
        AgentError: `agent_load_failed` when it is not.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"the package {package!r} of the runtime is not installed here"
        )
    return Path(spec.origin).parent
