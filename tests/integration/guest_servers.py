"""Guest servers as they run in a framework's container: with its interpreter, and the packages of ours it needs."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import guardian
from orchestrator_runtimes.guest_commands import GuestCommand, package_folder
from orchestrator_runtimes.guest_server import answers
from orchestrator_runtimes.guest_server_messages import server_socket
from orchestrator_runtimes.profiles import FrameworkProfile
from tests.integration.command_lines import offer_frameworks
from tests.integration.processes import wait_until

END_SECONDS: Final = 30.0
GROWING: Final = """
from dataclasses import replace

from orchestrator_runtimes.conformance.fake import PROFILE as FAKE

PROFILE = replace(FAKE, name="growing", replace_above_mb=1)
"""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running guest server.

    Attributes:
        process: The server.
        folder: Of its socket.
        framework: What it serves.
        temporary: Where its guests' folders are.
    """

    process: "subprocess.Popen[str]"
    folder: Path
    framework: str
    temporary: Path

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return server_socket(self.folder)

    @property
    def guests_folder(self) -> Path:
        """What a run is told: it holds the folders of all servers."""
        return self.folder.parent

    def command(self, profile: FrameworkProfile, **more: Any) -> GuestCommand:
        """Return how its guests are started."""
        return replace(GuestCommand.of(profile, Path(), **more), served=self.socket)

    def processes(self) -> list[int]:
        """Return all that runs below it: guardians, guests, and what they started."""
        return guardian.descendants(self.process.pid)

    def guests(self) -> dict[int, int]:
        """Return the guests' process ids, by their guardians'."""
        known = guardian.children()
        return {one: known[one][0] for one in known.get(self.process.pid, ()) if one in known}

    def check(self) -> int:
        """Ask as a startup probe does, and return the exit status."""
        asked = words(sys.executable, self.framework, self.folder, "--check")
        return subprocess.run(asked, check=False).returncode


def words(python: str | Path, framework: str, folder: Path, *more: str) -> list[str]:
    """Return the command line of a server."""
    module = "orchestrator_runtimes.guest_server"
    return [str(python), "-m", module, "--framework", framework, "--folder", str(folder), *more]


@contextmanager
def guest_server(
    place: Path,
    framework: str = "fake",
    *more: str,
    python: str | Path = sys.executable,
    path: str | None = None,
    name: str | None = None,
) -> Generator[Served]:
    """Run a server until the end of the block, and see that it leaves nothing.

    Args:
        place: A folder whose path is short.
        framework: What it serves.
        more: Further words of its command line.
        python: The framework's interpreter.
        path: PYTHONPATH; None offers the fake framework.
        name: Of its folder; None is the framework's.
    """
    folder, temporary = place / "sockets" / (name or framework), place / "temporary"
    for made in (folder, temporary):
        made.mkdir(parents=True, exist_ok=True)
    if path is None:
        offered = Path(tempfile.mkdtemp(dir=place))
        path = offer_frameworks(
            offered, fake="orchestrator_runtimes.conformance.fake:PROFILE", growing="growing:PROFILE"
        )
        (offered / "growing.py").write_text(GROWING)
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary)}
    with subprocess.Popen(words(python, framework, folder, *more), env=environment, text=True) as process:
        served = Served(process=process, folder=folder, framework=framework, temporary=temporary)
        try:
            wait_until(lambda: process.poll() is not None or answers(folder), "the server answers")
            yield served
        finally:
            process.terminate()
            process.wait(END_SECONDS)
    wait_until(lambda: not any(temporary.iterdir()), "no folder of a guest is left")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def image(place: Path, profile: FrameworkProfile) -> tuple[Path, str]:
    """Return interpreter and PYTHONPATH of a framework's image: its environment and the packages of ours, no others."""
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {profile.name}"
    packages = place / "packages"
    offer_frameworks(packages, **{profile.name: f"{profile.package}.profile:PROFILE"})
    for package in profile.packages():
        (packages / package).symlink_to(package_folder(package))
    return environment.python, str(packages)
