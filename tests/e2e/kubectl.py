"""What the tests ask of a cluster, through the kubectl of `PATH` and the `KUBECONFIG` of the environment."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any, Final

SECONDS: Final = 60.0
POD_SECONDS: Final = 90.0
"""For a pod to start and finish; three seconds are usual."""


class Refused(Exception):
    """kubectl ended with another status than 0; the message is what it said."""


def kubectl(*words: str, text: str = "", seconds: float = SECONDS) -> str:
    """Run kubectl and return its standard output.

    Raises:
        Refused: With kubectl's own words.
    """
    done = subprocess.run(
        ["kubectl", *words], input=text, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


class Namespace:
    """A namespace of one test."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, *objects: Mapping[str, Any]) -> None:
        """Create objects in it, in order.

        Raises:
            Refused: The API server did not take one.
        """
        for item in objects:
            self.ask("create", "--filename=-", text=json.dumps(item))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.ask("get", kind, name, "--output=json"))
        return found

    def wait(self, what: str, condition: str, seconds: float = POD_SECONDS) -> None:
        """Wait for a condition, as `kubectl wait --for` has it; fail with what the cluster knows of the object."""
        try:
            self.ask("wait", what, f"--for={condition}", f"--timeout={seconds:.0f}s", seconds=seconds + 10)
        except Refused as error:
            raise AssertionError(f"{error}\n{self.ask('describe', what)}\n{self.logs(what)}") from error

    def finish(self, pod: str) -> str:
        """Wait until a pod has succeeded, and return what its containers printed."""
        self.wait(f"pod/{pod}", "jsonpath={.status.phase}=Succeeded")
        return self.logs(f"pod/{pod}")

    def logs(self, what: str) -> str:
        """Return what the containers of a pod printed; why not, when the cluster cannot tell."""
        try:
            return self.ask("logs", what, "--all-containers")
        except Refused as error:
            return str(error)

    def ask(self, *words: str, text: str = "", seconds: float = SECONDS) -> str:
        """Run kubectl in the namespace."""
        return kubectl(f"--namespace={self.name}", *words, text=text, seconds=seconds)
