"""How long a team's deploy takes, and how long until an agent whose framework was switched has answered.

`python -m benchmarks.cluster_deploys` needs the test cluster (`make cluster-up`). Each round changes the project's
YAML, runs `orchestrator deploy --build` with the test cluster's buildah and a registry on this machine, and launches
the agent.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from benchmarks.cluster_platforms import (
    KEEP_HELP,
    FiguresPlatform,
    figures_platform,
    platform_images_of_figures,
    say,
)
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.registry import pushing_buildah, registry

PROJECT: Final = Path(__file__).with_name("cluster_team")
YAML: Final = Path("agents", "defs", "guide", "defs.yaml")
LOCATION: Final = "team"
FRAMEWORKS: Final = ("langgraph", "agno")
DEPLOY_SECONDS: Final = 30.0
SWITCH_SECONDS: Final = 10.0

_SECONDS: Final = 600.0
_KNOWN: Final = """
{ assetNodeOrError(assetKey: {path: ["guide"]}) { ... on AssetNode { opVersion } } }
"""
_MARKS: Final = {
    "Getting image source signatures": "built",
    " -> ": "pushed",
    "the new code server starts": "starts",
    "the new code server serves": "serves",
    ": serves ": "alone",
}
"""What `orchestrator deploy` says when something is done."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Seconds since the YAML was changed, of one deploy and the run after it; None for what was not seen.

    Attributes:
        framework: Which the agent has now.
        built: The image was built.
        pushed: It was in the registry.
        starts: The container of the new code server ran.
        serves: The new code server served.
        alone: The old one was gone: the deploy was over.
        known: The web server knew the new definitions.
        asked: The agent asked its model for the first time.
        answered: Its answer was stored.
    """

    framework: str
    built: float
    pushed: float
    starts: float | None
    serves: float | None
    alone: float
    known: float
    asked: float
    answered: float


class Team:
    """A project, and how it is deployed.

    Args:
        folder: Of the project: a copy.
        repository: Of its images.
        base: What they are built on.
        programs: Folder with a builder.
    """

    def __init__(self, folder: Path, repository: str, base: str, programs: Path) -> None:
        """Keep what the YAML says."""
        self.repository = repository
        self._folder, self._base = folder, base
        self._yaml = (folder / YAML).read_text()
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def change(self, framework: str, number: int) -> None:
        """Change the framework of the agent; and its prompt, so that no image is there already."""
        changed = self._yaml.replace("framework: langgraph", f"framework: {framework}")
        (self._folder / YAML).write_text(changed.replace("EXEC-1.", f"EXEC-{number}."))

    def first_image(self) -> str:
        """Build and push an image, so that its base is in the registry, and return its name."""
        from orchestrator_cluster.images.builders import find_builder
        from orchestrator_cluster.images.location_images import location_image

        before = os.environ["PATH"]
        os.environ["PATH"] = self._environment["PATH"]
        try:
            return location_image(
                self._folder, self.repository, self._base, find_builder("buildah"), lambda _line: None
            )
        finally:
            os.environ["PATH"] = before

    def deploy(self, namespace: str, began: float) -> dict[str, float]:
        """Deploy it, and return when what was done, in seconds since `began` (Unix time).

        Raises:
            SystemExit: The deploy failed.
        """
        words = [Path(sys.executable).with_name("orchestrator"), "deploy", LOCATION, "--build", self._folder]
        words += ["--repository", self.repository, "--base", self._base, "--builder", "buildah"]
        marks, said = dict[str, float](), list[str]()
        with subprocess.Popen(
            [*map(str, words), "--namespace", namespace],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        ) as process:
            for line in process.stdout or ():
                said.append(line)
                for words_of, mark in _MARKS.items():
                    if words_of in line:
                        marks.setdefault(mark, time.time() - began)
        if process.returncode:
            raise SystemExit(f"the deploy failed:\n{''.join(said)}")
        return marks


def one_round(platform: FiguresPlatform, team: Team, framework: str, number: int) -> Round:
    """Switch the framework, deploy, launch, and return when what was done."""
    before = _version(platform)
    platform.forget_calls()
    began = time.time()
    team.change(framework, number)
    marks = team.deploy(platform.team.name, began)
    platform.until(
        lambda: _version(platform) not in ("", before), 60, "the web server knows the new definitions"
    )
    known = time.time() - began
    run_id = platform.launch(LOCATION, "__ASSET_JOB", assets=[["guide"]])
    platform.ends(run_id, "SUCCESS", _SECONDS)
    (step,) = platform.times(run_id)["stepStats"]
    pod = platform.pods(run_id)[0]
    sidecars = [str(one["name"]).rpartition("-")[2] for one in pod["spec"]["initContainers"]]
    if sidecars != [framework]:
        raise SystemExit(f"the run had the guests of {sidecars}, and its agent is of {framework}")
    asked = min(float(call["time"]) for call in platform.model_calls())
    return Round(
        framework=framework,
        built=marks["built"],
        pushed=marks["pushed"],
        starts=marks.get("starts"),
        serves=marks.get("serves"),
        alone=marks["alone"],
        known=known,
        asked=asked - began,
        answered=step["endTime"] - began,
    )


def _version(platform: FiguresPlatform) -> str:
    """Return the version of the agent's code that the web server knows; empty where it does not answer that now."""
    node: Mapping[str, Any] = platform.ask(_KNOWN)["assetNodeOrError"]
    return str(node.get("opVersion") or "")


@contextlib.contextmanager
def team_platform(keep: bool) -> Generator[tuple[FiguresPlatform, Team]]:
    """Have an installation with the team's location."""
    images, cache = platform_images_of_figures(), places().cache
    with tempfile.TemporaryDirectory(prefix="benchmark-") as made:
        folder = Path(made)
        shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("__pycache__"))
        with registry(cache, folder, _machine_network()) as name:
            programs = folder / "bin"
            programs.mkdir()
            pushing_buildah(cache, programs)
            team = Team(folder / "project", f"{name}/team/agents", images["dagster"], programs)
            first = team.first_image()
            say("the first image is in the registry")
            changes = {"locations": {LOCATION: _location(images, first, team.repository)}}
            with figures_platform(changes, images, keep=keep) as platform:
                yield platform, team


def _machine_network() -> Path | None:
    """Return the network in which packages can be had; None for that of this process."""
    named = os.environ.get("E2E_MACHINE_NETWORK")
    return None if named is None else Path(named)


def _location(images: Mapping[str, str], image: str, repository: str) -> dict[str, Any]:
    roomy = {"cpu": "20m", "memory": "1Gi"}
    return {
        "tenant": "acme",
        "image": image,
        "repositories": [repository],
        "module": "agents.definitions",
        "server": roomy,
        "run": roomy,
        "guest": roomy,
        "images": {name: images[name] for name in FRAMEWORKS},
    }


def measure(count: int, keep: bool) -> Outcome:
    """Have so many rounds, after one of each framework that does not count."""
    rounds = list[Round]()
    with team_platform(keep) as (platform, team):
        for number in range(count + len(FRAMEWORKS)):
            framework = FRAMEWORKS[(number + 1) % len(FRAMEWORKS)]
            done = one_round(platform, team, framework, number + 2)
            say(
                f"  {framework}: deployed after {done.alone:.1f} s, answered after {done.answered:.1f} s"
                f" (load {os.getloadavg()[0]:.1f})"
            )
            if number >= len(FRAMEWORKS):
                rounds.append(done)
    deploys = spread([one.alone for one in rounds])
    switches = spread([one.answered for one in rounds])
    return Outcome(
        name="cluster-deploys",
        title="Deploys, and switches of an agent's framework",
        how=f"{count} rounds after two that do not count: `framework:` changes in the project's YAML, `orchestrator"
        " deploy --build` makes an image (buildah; the base is there), pushes it to a registry on this machine and"
        " replaces the code server, and the agent is launched as soon as the web server knows its new definitions."
        " Seconds since the change.",
        rows=rows(rounds),
        findings=[
            f"Deploy: p50 {deploys[0]:.1f} s, p95 {deploys[1]:.1f} s (target {DEPLOY_SECONDS:.0f} at p95).",
            f"Switch: p50 {switches[0]:.1f} s, p95 {switches[1]:.1f} s (target {SWITCH_SECONDS:.0f}).",
        ],
    )


def rows(rounds: Sequence[Round]) -> list[dict[str, Cell]]:
    """Return a line for each thing that is done, with what it took by itself and when it was done."""
    names = {
        "built": "the image is built",
        "pushed": "it is in the registry",
        "starts": "the new code server's container runs",
        "serves": "the new code server serves",
        "alone": "the old one is gone: deployed",
        "known": "the web server knows the definitions",
        "asked": "the agent asks its model",
        "answered": "its answer is stored",
    }
    found, before = list[dict[str, Cell]](), [0.0] * len(rounds)
    for attribute, name in names.items():
        done = [float(getattr(one, attribute) or last) for one, last in zip(rounds, before, strict=True)]
        took = [now - last for now, last in zip(done, before, strict=True)]
        p50, p95 = spread(done)
        found.append({"done": name, "took, p50 s": median(took), "after, p50 s": p50, "after, p95 s": p95})
        before = done
    return found


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return median and 95th percentile; of one value, that twice."""
    return median(values), quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_deploys", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--keep", action="store_true", help=KEEP_HELP)
    options, machine = parser.parse_args(), describe_machine()
    print(markdown(measure(options.rounds, options.keep)))
    print(machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
