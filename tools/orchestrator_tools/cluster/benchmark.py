"""`make cluster-bench BENCH=NAME`: `benchmarks.cluster_NAME`, on the cluster of `KUBECONFIG` or on the test cluster.

A test cluster that is not up is brought up first and down afterwards. Further arguments go to the benchmark.
"""

import os
import subprocess
import sys
from typing import Final

from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.e2e import run_on_test_cluster
from orchestrator_tools.cluster.places import places
from orchestrator_tools.steps import CHECKOUT, say

PREFIX: Final = "cluster_"


def names() -> list[str]:
    """Return the benchmarks that there are: modules that run by themselves."""
    modules = (CHECKOUT / "benchmarks").glob(f"{PREFIX}*.py")
    return sorted(
        module.stem.removeprefix(PREFIX) for module in modules if "\ndef main(" in module.read_text()
    )


def main() -> int:
    """Run the command line and return its exit status."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in names():
        say(f"there is no benchmark {name!r}; there are {', '.join(names())}")
        return 2
    words = [sys.executable, "-m", f"benchmarks.{PREFIX}{name}", *arguments]
    os.environ["PYTHONPATH"] = str(CHECKOUT / "tools")
    if os.environ.get("KUBECONFIG"):
        return subprocess.run(words, cwd=CHECKOUT, check=False).returncode
    try:
        return run_on_test_cluster(places(), words)
    except ClusterError as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
