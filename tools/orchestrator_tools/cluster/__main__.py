"""`make cluster-up` and `make cluster-down`: a Kubernetes of one node on this machine, in a network of its own."""

import argparse
import sys
import time

from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.lifecycle import bring_down, bring_up, inside
from orchestrator_tools.cluster.places import Places, places
from orchestrator_tools.cluster.records import node_process
from orchestrator_tools.steps import say


def up(own: Places) -> None:
    """Bring the cluster up and say how to use it."""
    began = time.monotonic()
    started = bring_up(own)
    say(
        f"the cluster is up after {time.monotonic() - began:.1f} s"
        if started
        else "the cluster is up already"
    )
    node = node_process(own)
    if node is not None:
        say(f"  export KUBECONFIG={own.kubeconfig} PATH={own.programs}:$PATH")
        say(f"  {' '.join(inside(node))} COMMAND    # runs in the cluster's network, as root")
    say(f"  logs: {own.logs}")


def down(own: Places) -> None:
    """Bring the cluster down and say whether there was one."""
    began = time.monotonic()
    say(
        f"the cluster is gone after {time.monotonic() - began:.1f} s"
        if bring_down(own)
        else "there is no cluster"
    )


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.cluster", description=__doc__)
    parser.add_argument("action", choices=("up", "down"))
    try:
        (up if parser.parse_args().action == "up" else down)(places())
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
