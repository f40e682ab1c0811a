"""Makes what an image holds, inside the build: `python3 -m orchestrator_cluster.images.install environment|code`.

It runs in a stage of its own, with the base image's Python, and imports nothing but `contexts.INSTALLER`. The
environment is made by the code that makes it on a laptop, in a folder with the same name, so it is the same one.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator_resources.environments import EnvironmentStore, uv
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.locks import Lock, NodeLock

HOME: Final = Path("/opt/orchestrator")
CODE: Final = Path("/opt/orchestrator-code")
BUILD: Final = Path("/build")
SETTINGS: Final = Path("/settings")
"""In memory: what package clients are told is in no layer."""
CACHE: Final = "/cache"
SECRETS: Final = Path("/run/secrets")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the context says of the environment; see `contexts`."""

    python: str
    lock: Lock

    @classmethod
    def read(cls, folder: Path) -> "Wanted":
        """Return what lies in the folder of the context."""
        told: dict[str, Any] = json.loads((folder / "environment.json").read_text())
        node = told["node"]
        lock = Lock(python=told["lock"], node=None if node is None else NodeLock(**node))
        return cls(python=told["python"], lock=lock)


def make_environment() -> None:
    """Install what the lock names, and let it find our code.

    Raises:
        AgentError: It cannot be installed.
        SystemExit: The base image has another Python.
    """
    wanted = Wanted.read(BUILD)
    has = f"{sys.version_info.major}.{sys.version_info.minor}"
    if has != wanted.python:
        sys.exit(
            f"the base image has Python {has}, and the environment is named by Python {wanted.python}: give a base with"
            f" Python {wanted.python}, or run `orchestrator` itself with {has}"
        )
    os.environ.update(client_settings(SECRETS, SETTINGS))
    store = EnvironmentStore(HOME)
    made = store.install(wanted.lock, name="image", progress=lambda line: print(line, flush=True))
    (packages,) = made.path.glob("lib/python3.*/site-packages")
    (packages / "orchestrator.pth").write_text(f"{CODE}\n")


def client_settings(secrets: Path, settings: Path) -> dict[str, str]:
    """Write the files of the package clients of whoever builds, and return the variables that go with them.

    Args:
        secrets: Folder of the build's secrets; what is not there was not given.
        settings: The home folder of the clients.
    """
    found = {"HOME": str(settings), "UV_CACHE_DIR": CACHE, "npm_config_cache": f"{CACHE}/npm"}
    # an image has times of its own: byte code must not be judged by them
    found |= {"UV_LINK_MODE": "copy", "PYC_INVALIDATION_MODE": "UNCHECKED_HASH"}
    given = secrets / "packages"
    told: dict[str, dict[str, str]] = json.loads(given.read_text()) if given.is_file() else {}
    for name, text in told.get("files", {}).items():
        file = settings / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o600)
    certificates = secrets / "certificates"
    if certificates.is_file() and certificates.stat().st_size:
        found |= dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(certificates))
    return {**told.get("variables", {}), **found}


def install_code() -> None:
    """Install our wheels beside the environment, in a layer of their own: they change often and are small.

    Raises:
        AgentError: It cannot be done.
    """
    wanted = Wanted.read(BUILD)
    os.environ.update(client_settings(Path("/nowhere"), SETTINGS))
    made = EnvironmentStore(HOME).find(wanted.lock)
    assert made is not None  # the stage before this one made it
    wheels = sorted(map(str, (BUILD / "wheels").glob("*.whl")))
    uv(
        "pip", "install", "--python", str(made.python), "--target", str(CODE), "--no-deps", "--no-index", "--offline",
        "--compile-bytecode", *wheels, name="image",
    )  # fmt: skip


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_cluster.images.install", description=__doc__)
    parser.add_argument("what", choices=("environment", "code"))
    try:
        if parser.parse_args().what == "environment":
            make_environment()
        else:
            install_code()
    except AgentError as error:
        print(f"{error.message}\n{error.cause or ''}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
