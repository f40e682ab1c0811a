"""The marketplace's web page: checked, and built from TypeScript into the files that its package brings.

The built files are committed, so that installing the package needs no Node; `--check` says whether they are those of
the sources: one compiler of one version, whatever machine it runs on, writes the same bytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from orchestrator_resources.node_packages import node_wheel
from orchestrator_tools.javascript_tools import NotInstalled, install_packages
from orchestrator_tools.steps import CHECKOUT, say

PROJECT: Final = CHECKOUT / "marketplace" / "web"
BUILT: Final = CHECKOUT / "marketplace" / "orchestrator_marketplace" / "page"
INSTALLED: Final = CHECKOUT / "var" / "marketplace-page"

_COPIED: Final = ("index.html", "page.css", "icon.svg")
_SCRIPTS: Final = {"page": "page.ts", "markdown": "markdown_worker.ts"}


class PageProblem(Exception):
    """The page is not as it should be, or cannot be built; the text says why."""


def page_packages() -> Path:
    """Return the folder of the page's npm packages, a `node_modules`.

    Raises:
        PageProblem: They cannot be installed.
    """
    try:
        return install_packages(_wheel(), PROJECT, INSTALLED)
    except NotInstalled as error:
        raise PageProblem(str(error)) from error


def build(target: Path) -> None:
    """Write the page's files into a folder.

    Raises:
        PageProblem: The sources cannot be compiled.
    """
    packages = page_packages()
    sources = PROJECT / "src"
    target.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        shutil.copyfile(sources / name, target / name)
    # its code is in markdown.js, and its licence wants to be with it
    shutil.copyfile(packages / "marked" / "LICENSE", target / "markdown.LICENSE.txt")
    _run(
        str(packages / "esbuild" / "bin" / "esbuild"),
        *(f"{name}={sources / file}" for name, file in _SCRIPTS.items()),
        "--bundle",
        "--tsconfig-raw={}",  # its paths are for the type checker
        "--format=esm",
        "--target=es2022",
        "--minify-whitespace",
        "--minify-syntax",
        "--charset=utf8",
        "--banner:js=/* see markdown.LICENSE.txt for what others wrote of this */",
        "--log-level=warning",
        f"--outdir={target}",
        NODE_PATH=str(packages),
    )


def check() -> None:
    """Check types, style, and that the committed files are those of the sources.

    Raises:
        PageProblem: With all that was said.
    """
    packages = page_packages()
    _run(str(packages / "typescript" / "bin" / "tsc"), "--project", str(PROJECT))
    _run(str(packages / "@biomejs" / "biome" / "bin" / "biome"), "ci", "--error-on-warnings", ".")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        new, old = _files(Path(folder)), _files(BUILT)
    different = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
    if different:
        raise PageProblem(f"{', '.join(different)}: not as the sources make it; run `make format`")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def _wheel() -> Path:
    wheel = node_wheel(Path(sys.prefix))
    if wheel is None:
        raise PageProblem("the virtual environment has no Node: run `make` again")
    return wheel


def _run(script: str, *words: str, **environment: str) -> None:
    done = subprocess.run(
        [str(_wheel() / "bin" / "node"), script, *words],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        # esbuild is started by a script, which adds where in itself that was
        said = done.stdout.partition("\n\nnode:")[0].strip()
        raise PageProblem(said or f"{Path(script).name} ended with {done.returncode}")


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.marketplace_page", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where something would change"
    )
    options = parser.parse_args()
    try:
        if options.check:
            check()
        else:
            packages = page_packages()
            _run(str(packages / "@biomejs" / "biome" / "bin" / "biome"), "check", "--write", ".")
            build(BUILT)
    except (PageProblem, subprocess.TimeoutExpired) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
