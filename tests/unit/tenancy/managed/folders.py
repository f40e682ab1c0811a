"""A tenant's folder, good to begin with, that tests spoil in one place."""

from pathlib import Path
from textwrap import dedent

GOOD = """
type: orchestrator_assets.AgentComponent
attributes:
  framework: langgraph
  entrypoint: agent:build
  asset: {key: reviews}
"""

AGENT = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
build = None
"""
"""Leaves a file where it was imported."""


class Folder:
    """A managed location's folder, with one agent in `one/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("one/defs.yaml", GOOD)
        self.write("one/agent.py", AGENT)

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def agent(self, *lines: str, **fields: str) -> None:
        """Write the one agent's YAML with other fields and further lines."""
        given = {"framework": "langgraph", "entrypoint": "agent:build", "asset": "{key: reviews}", **fields}
        body = "".join(f"  {name}: {value}\n" for name, value in given.items() if value)
        more = "".join(f"{line}\n" for line in lines)
        self.write("one/defs.yaml", f"type: orchestrator_assets.AgentComponent\nattributes:\n{body}{more}")

    def nothing_was_imported(self) -> bool:
        return not list(self.root.rglob("imported"))
