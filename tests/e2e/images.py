"""The images of a whole platform: built and given to the test cluster, or those that another cluster has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.commands import run
from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.lifecycle import import_image, inside
from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.records import node_process
from orchestrator_tools.steps import CHECKOUT

LOCATION: Final = Path(__file__).with_name("location")
FRAMEWORKS: Final = ("agentscope", "agno", "crewai", "langgraph", "lightagent", "n8n")
REAL_MODEL: Final = os.environ.get("E2E_MODEL") == "smollm2"
"""Whether the example's agents ask SmolLM2: two cores that nobody else uses answer within its limit of 120 s."""
BUILD_SECONDS: Final = 5_000


def platform_images(location: Path = LOCATION, of: str = "e2e") -> dict[str, str]:
    """Return the whole names of the images, which the cluster has then, by what they are.

    On another cluster than the test cluster `E2E_IMAGES` names a file with them: a JSON object.

    Args:
        location: Folder of the definitions.
        of: Whose they are.
    """
    if file := os.environ.get("E2E_IMAGES"):
        return dict(json.loads(Path(file).read_text()))
    machine = os.environ.get("E2E_MACHINE_NETWORK")
    assert machine, "on another cluster than the test cluster say which images it has: E2E_IMAGES=FILE.json"
    words = [sys.executable, "-m", "orchestrator_tools.cluster.platform_images"]
    words += ["--location", str(location), "--of", of]
    words += ["--model"] if REAL_MODEL else []
    done = subprocess.run(
        ["nsenter", f"--net={machine}", "--", *words],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tools")},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    told = json.loads(done.stdout.splitlines()[-1])  # before it, what was made anew is told of
    there = _imported()
    for image in told.values():
        if image["name"] not in there:
            import_image(places(), Path(image["archive"]))
    return {what: image["name"] for what, image in told.items()}


def _imported() -> set[str]:
    """Return the names of the images that the test cluster has."""
    node = node_process(places())
    assert node is not None, "the test cluster is not up"
    words = [*inside(node, "--mount"), "ctr", "--namespace=k8s.io", "images", "list", "--quiet"]
    return set(
        run(words, seconds=60, environment=tree_environment(unpacked_packages(places().cache))).split()
    )
