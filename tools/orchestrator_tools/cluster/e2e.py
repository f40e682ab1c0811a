"""`make e2e`: the tests that need a Kubernetes, on the cluster of `KUBECONFIG` or else on the test cluster.

A test cluster that is not up is brought up first and down afterwards. Arguments go to pytest.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.go_programs import HELM, built_program
from orchestrator_tools.cluster.images import BASE_IMAGE, base_image
from orchestrator_tools.cluster.lifecycle import (
    bring_down,
    bring_up,
    import_image,
    inside,
    require_root,
)
from orchestrator_tools.cluster.places import Places, places
from orchestrator_tools.cluster.records import node_process
from orchestrator_tools.steps import CHECKOUT, say

TESTS: Final = "tests/e2e"
OWN_TESTS: Final = "tests/e2e/test_cluster"
"""Of the test cluster itself; they do not run on another one."""

_ONLY_TESTS: Final = ("--override-ini=timeout_func_only=true",)
"""What images take that are built first is bounded where they are built."""


def pytest_command(arguments: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Return the command that runs the tests, or those that the arguments name."""
    named = any(not argument.startswith("-") for argument in arguments)
    return [sys.executable, "-m", "pytest", *_ONLY_TESTS, *arguments, *([] if named else tests)]


def variables(own: Places) -> Mapping[str, str]:
    """Return the variables of tests on the test cluster, beside those of this process."""
    path = os.environ.get("PATH", os.defpath)
    return {
        "KUBECONFIG": f"{own.kubeconfig}",
        "PATH": f"{own.programs}:{path}",
        "E2E_IMAGE": BASE_IMAGE,
        "E2E_MACHINE_NETWORK": f"/proc/{os.getpid()}/ns/net",
    }


def run_on_test_cluster(own: Places, words: Sequence[str]) -> int:
    """Run a command inside the test cluster's network and return its status.

    Raises:
        ClusterError: The cluster cannot be had.
    """
    require_root()
    base = base_image(own.cache)
    built_program(HELM, own.cache)  # the cluster's network has no way to where modules are
    began = time.monotonic()
    started = bring_up(own)
    try:
        if started:
            say(f"the cluster is up after {time.monotonic() - began:.1f} s")
        import_image(own, base)
        node = node_process(own)
        if node is None:
            raise ClusterError(f"the cluster has just ended; its logs: {own.logs}")
        return subprocess.run(
            [*inside(node), *words], cwd=CHECKOUT, env={**os.environ, **variables(own)}, check=False
        ).returncode
    finally:
        if started:
            bring_down(own)


def main() -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:]
    if os.environ.get("KUBECONFIG"):
        words = pytest_command(arguments, [TESTS, f"--ignore={OWN_TESTS}"])
        return subprocess.run(words, cwd=CHECKOUT, check=False).returncode
    try:
        return run_on_test_cluster(places(), pytest_command(arguments, [TESTS]))
    except ClusterError as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
