"""The real input: distributions that are installed in the environments of all frameworks."""

import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dependency_review.frameworks import FRAMEWORKS
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import guests_folder, home_folder
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

ROWS = "DEPENDENCY_REVIEW_ROWS"
"""How many distributions are reviewed; every agent reviews each."""


class DistributionsConfig(dg.Config):
    """What a run may choose."""

    rows: int = int(os.environ.get(ROWS, "4"))


def site_packages(environment: Path) -> list[str]:
    """Return the folders of installed distributions of an environment."""
    return [str(folder) for folder in environment.glob("lib/python3.*/site-packages")]


@dg.multi_asset(
    name="distributions",
    outs={
        "distributions": dg.AssetOut(key="distributions", group_name="input", kinds={"python"}),
        "declared_licences": dg.AssetOut(key="declared_licences", group_name="input", kinds={"python"}),
    },
)
def distributions(
    context: dg.AssetExecutionContext, config: DistributionsConfig
) -> Iterator[dg.MaterializeResult[Any]]:
    """Distributions that every framework's environment holds, and the licences that their metadata declares."""
    profiles = installed_frameworks()
    by_framework = {name: _held_by(profiles[name], context.log.info) for name in FRAMEWORKS}
    first, *others = by_framework.values()
    shared = sorted(set(first).intersection(*others))
    chosen = _spread(shared, config.rows)
    found = [by_framework[FRAMEWORKS[0]][name] for name in chosen]
    yield dg.MaterializeResult(
        asset_key="distributions",
        value=[_describe(one) for one in found],
        metadata={
            "distributions": len(found),
            "shared by all environments": len(shared),
            **{f"installed for {name}": len(names) for name, names in by_framework.items()},
        },
    )
    yield dg.MaterializeResult(
        asset_key="declared_licences",
        value={one.name: declared_licence(one) for one in found},
        metadata={"licences": len(found)},
    )


def _held_by(
    profile: FrameworkProfile, tell: Callable[[str], None]
) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions of a framework's environment, by name.

    Where guests are in containers of their own, no environment is here: then those that its lock names, as far as this
    process has them, too.
    """
    if guests_folder() is not None:
        named = re.findall(r"^([A-Za-z0-9._-]+)==", profile.lock().python, re.MULTILINE)
        return {name: found for name, found in _by_name(None).items() if name in map(_plain, named)}
    environment = EnvironmentStore(home_folder()).install(profile.lock(), name=profile.name, progress=tell)
    return _by_name(site_packages(environment.path))


def _by_name(path: list[str] | None) -> dict[str, importlib.metadata.Distribution]:
    found = (
        importlib.metadata.distributions() if path is None else importlib.metadata.distributions(path=path)
    )
    return {_plain(one.name): one for one in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _spread(names: list[str], count: int) -> list[str]:
    """Choose `count` names, evenly over the alphabet, so that a short run sees different licences too."""
    step = max(1, len(names) // max(1, count))
    return names[step // 2 :: step][:count]


def _describe(found: importlib.metadata.Distribution) -> dict[str, object]:
    size = sum(file.size or 0 for file in found.files or [])
    scripts = [point.name for point in found.entry_points if point.group == "console_scripts"]
    return {
        "name": found.name,
        "version": found.version,
        "summary": _field(found, "Summary"),
        "licence": declared_licence(found),
        "requires": len([line for line in found.requires or [] if "extra ==" not in line]),
        "bytes": size,
        "commands": len(scripts),
    }


def _field(found: importlib.metadata.Distribution, name: str) -> str:
    """Return a field of the metadata; empty when it has none."""
    return str((found.metadata.get_all(name) or [""])[0])


def declared_licence(found: importlib.metadata.Distribution) -> str:
    """Return what the metadata says of the licence: the expression, the old field's first line, or the classifiers."""
    declared = (_field(found, "License-Expression") or _field(found, "License")).strip()
    if declared:
        return declared.splitlines()[0][:80]
    classifiers = [
        c.rpartition(" :: ")[2]
        for c in found.metadata.get_all("Classifier") or []
        if c.startswith("License ::")
    ]
    return ", ".join(classifiers) or "none declared"
