"""Types of the JavaScript, as its comments declare them, by the TypeScript compiler and n8n's own Node."""

import subprocess
import sys
from pathlib import Path

from orchestrator_resources.node_packages import node_wheel
from orchestrator_tools.javascript_tools import SOURCES, NotInstalled, install_tools
from orchestrator_tools.steps import say


def main(python: str) -> int:
    """Check everything that `tsconfig.json` names and return the compiler's exit status.

    Args:
        python: Interpreter of n8n's environment, which brings Node.
    """
    wheel = node_wheel(Path(python).parents[1])
    if wheel is None:
        say(f"{python} is of an environment without Node: run `make runtimes FRAMEWORK=n8n`")
        return 2
    try:
        compiler = install_tools(wheel) / "typescript" / "bin" / "tsc"
    except NotInstalled as error:
        say(str(error))
        return 2
    words = [str(wheel / "bin" / "node"), str(compiler), "--project", str(SOURCES)]
    return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
