"""The command line `orchestrator`, as a person calls it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BIN = Path(sys.executable).parent
SECONDS = 300


def run(*words: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment in a folder; `environment` is added to this process's."""
    program = BIN / words[0]
    return subprocess.run(
        [str(program), *map(str, words[1:])],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def succeeds(*words: str | Path, folder: Path, **environment: str) -> str:
    """Run a program that must succeed, and return what it printed on standard output."""
    done = run(*words, folder=folder, **environment)
    assert done.returncode == 0, (
        f"{' '.join(map(str, words))}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    )
    return done.stdout


def refused(*words: str | Path, folder: Path, **environment: str) -> str:
    """Run a program that must refuse with a few words, and return them."""
    done = run(*words, folder=folder, **environment)
    assert done.returncode == 1, f"status {done.returncode}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    assert "Traceback" not in done.stderr + done.stdout
    assert 1 <= len(done.stderr.strip().splitlines()) <= 3, done.stderr
    return done.stderr


def with_packages(folder: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return a PYTHONPATH that finds the packages of a folder before what it finds already."""
    return os.pathsep.join(filter(None, [str(folder), environment.get("PYTHONPATH")]))


def offer_frameworks(folder: Path, **profiles: str) -> str:
    """Write a distribution that offers frameworks, `module:PROFILE` by name; return the PYTHONPATH that finds it."""
    information = folder / "offered_frameworks-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: offered-frameworks\nVersion: 1\n")
    lines = [f"{name} = {profile}\n" for name, profile in profiles.items()]
    (information / "entry_points.txt").write_text("".join(["[orchestrator.frameworks]\n", *lines]))
    return with_packages(folder)
