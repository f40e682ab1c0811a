"""Types of the JavaScript, as its comments declare them, by the TypeScript compiler and n8n's own Node."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator_resources.node_packages import node_wheel, npm_command
from orchestrator_tools.steps import CHECKOUT, say

SOURCES: Final = CHECKOUT / "tools" / "javascript"
INSTALLED: Final = CHECKOUT / "var" / "javascript"
"""The compiler, installed again when its lock changes."""


def main(python: str) -> int:
    """Check everything that `tsconfig.json` names and return the compiler's exit status.

    Args:
        python: Interpreter of n8n's environment, which brings Node.
    """
    wheel = node_wheel(Path(python).parents[1])
    if wheel is None:
        say(f"{python} is of an environment without Node: run `make runtimes FRAMEWORK=n8n`")
        return 2
    lock, marker = (SOURCES / "package-lock.json").read_text(), INSTALLED / "installed.json"
    if not marker.is_file() or marker.read_text() != lock:
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, INSTALLED)
        done = subprocess.run(npm_command(wheel, "ci", "--ignore-scripts"), cwd=INSTALLED, check=False)
        if done.returncode != 0:
            say("npm did not install the TypeScript compiler")
            return done.returncode
        marker.write_text(lock)
    compiler = INSTALLED / "node_modules" / "typescript" / "bin" / "tsc"
    words = [str(wheel / "bin" / "node"), str(compiler), "--project", str(SOURCES)]
    return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
