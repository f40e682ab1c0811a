"""The chart as Helm renders it: a real Helm, built from its Go module the first time."""

import copy
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeGuard

import yaml

from orchestrator_tools.chart.files import CHART
from orchestrator_tools.cluster.go_programs import HELM, built_program
from orchestrator_tools.cluster.places import places

Manifest = dict[str, Any]

RELEASE: Final = "agents"
NAMESPACE: Final = "platform"
SECONDS: Final = 60.0

LEAST: Final[Mapping[str, Any]] = yaml.safe_load((CHART / "ci" / "least-values.yaml").read_text())
"""What has to be set."""
TEAMS: Final[Mapping[str, Any]] = yaml.safe_load((CHART / "ci" / "teams-values.yaml").read_text())
"""Two teams with a code location each; `rival` has a namespace of its own name."""
TLS: Final[dict[str, Any]] = {"tls": {"ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}}
"""Over the others: nothing is said in the clear; the authority is none."""
ONE_TEAM: Final[dict[str, Any]] = {"control": None}
"""Over the others: nobody signs in."""


class Refused(Exception):
    """Helm ended with another status than 0; the message is what it said."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What Helm made of the chart.

    Attributes:
        manifests: Every object.
        sources: The template of each, in the same order.
    """

    manifests: Sequence[Manifest]
    sources: Sequence[str]

    def of(self, template: str) -> list[Manifest]:
        """Return the objects of a template, by its file's name."""
        return [one for one, source in zip(self.manifests, self.sources, strict=True) if source == template]

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Manifest:
        """Return the only object of a kind with a name; the name is without the release's."""
        (found,) = [
            one
            for one in self.manifests
            if (one["kind"], one["metadata"]["name"], one["metadata"].get("namespace"))
            == (kind, f"{RELEASE}-{name}", namespace)
        ]
        return found


def merged(values: Mapping[str, Any], *more: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with others over them; mappings are merged, as Helm does it."""
    result: dict[str, Any] = copy.deepcopy(dict(values))
    for changes in more:
        for key, value in changes.items():
            inner: Any = result.get(key)
            both = _is_mapping(value) and _is_mapping(inner)
            result[key] = merged(inner, value) if both else copy.deepcopy(value)
    return result


def helm(*words: str | Path, text: str = "", seconds: float = SECONDS) -> str:
    """Run Helm and return its standard output.

    Raises:
        Refused: With Helm's own words.
    """
    done = subprocess.run(
        [program(), *map(str, words)],
        input=text,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise Refused(f"{done.stdout}{done.stderr}")
    return done.stdout


def render(values: Mapping[str, Any] = TEAMS, *more: Mapping[str, Any]) -> Rendered:
    """Render the chart.

    Raises:
        Refused: Helm does not take the values.
    """
    return _parsed(rendered_text(merged(values, *more)))


def rendered_text(values: Mapping[str, Any]) -> str:
    """Return what Helm makes of the chart, as it prints it.

    Raises:
        Refused: Helm does not take the values.
    """
    return _rendered(json.dumps(values, sort_keys=True))


def _is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


@cache
def program() -> Path:
    """Return Helm."""
    return built_program(HELM, places().cache)


@cache
def _rendered(values: str) -> str:
    return helm("template", RELEASE, CHART, f"--namespace={NAMESPACE}", "--values=-", text=values)


@cache
def _parsed(said: str) -> Rendered:
    manifests: list[Manifest] = []
    sources: list[str] = []
    for document in f"\n{said}".split("\n---\n"):
        manifest = yaml.load(document, yaml.CSafeLoader)
        if manifest is not None:
            manifests.append(manifest)
            (source,) = [line for line in document.splitlines() if line.startswith("# Source: ")]
            sources.append(source.rpartition("/")[2])
    return Rendered(manifests=manifests, sources=sources)
