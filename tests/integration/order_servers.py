"""A real MCP server with one tool that counts its calls, in a process of its own."""

import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.profiles import installed_frameworks

SERVER: Final = Path(__file__).parent / "mcp_order_server.py"
CONTRACT: Final = Path(__file__).parents[2] / "runtimes" / "contract"


@contextlib.contextmanager
def order_server(told: Path) -> Generator[str]:
    """Serve in the environment of a framework, which holds the SDK."""
    environment = EnvironmentStore(home_folder()).find(installed_frameworks()["langgraph"].lock())
    assert environment is not None, "install it first: orchestrator runtimes install langgraph"
    told.touch()
    process = subprocess.Popen(
        [environment.python, str(SERVER), str(told)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(CONTRACT), "PATH": os.environ["PATH"]},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def counted(told: Path) -> list[str]:
    return told.read_text().split()
