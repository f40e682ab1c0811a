"""What is released: a bundle's folder, or the folder of an agent asset with what its YAML does not say.

bundle.yaml        name, version, summary, licence, inputs and the like; no framework, entrypoint and output there,
                   which `defs.yaml` beside it says
README.md          the documentation
evaluation.jsonl   the evaluation cases
defs.yaml          the agent asset; its code is the bundle's
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import dagster as dg

from orchestrator_assets.agent_assets import NOT_CODE, op_name
from orchestrator_assets.agent_component import AgentComponent
from orchestrator_assets.agent_specs import code_folder
from orchestrator_assets.spec_fields import WrongValue
from orchestrator_marketplace.code_archives import pack_code
from orchestrator_marketplace.folders import (
    DOCUMENTATION,
    DOCUMENTATION_BYTES,
    EVALUATION,
    EVALUATION_BYTES,
    MANIFEST,
    BundleContents,
    check_contents,
    read_folder,
)
from orchestrator_marketplace.layouts import read_file
from orchestrator_marketplace.manifests import Manifest, Permissions, Resources, Thresholds, Tool
from orchestrator_marketplace.pricing import Pricing
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.strict_yaml import LONGEST_BYTES, parse_yaml
from orchestrator_resources.bundle_environments import bundle_runtime
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.profiles import FrameworkProfile

ASSET: Final = "defs.yaml"
_COMPONENT: Final = "orchestrator_assets.AgentComponent"

Loaded = Callable[[Path], object]
"""Returns the component of a folder with a `defs.yaml`."""


@dataclass(frozen=True, kw_only=True)
class Releasable:
    """A bundle before it is built.

    Attributes:
        contents: What it holds.
        runtime: What it runs in.
    """

    contents: BundleContents
    runtime: FrameworkProfile


@dataclass(frozen=True, kw_only=True)
class _AssetManifest:
    """What `bundle.yaml` says beside an agent asset; see `Manifest`. The asset says the rest."""

    bundle: Literal[1]
    name: str
    version: str
    summary: str
    licence: str
    inputs: Mapping[str, Json]
    tools: tuple[Tool, ...] = ()
    models: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    permissions: Permissions = field(default_factory=Permissions)
    pricing: Pricing | None = None
    terms: str | None = None
    thresholds: Thresholds | None = None


def read_releasable(folder: Path, load: Loaded) -> Releasable:
    """Return what a folder holds, of which every part is checked; nothing of it is imported.

    Args:
        folder: Of a bundle, or of an agent asset with a `bundle.yaml` beside it.
        load: Loads the latter's component.

    Raises:
        BundleRefused: What is wrong with it.
        AgentError: Its framework is not installed, or its runtime profile cannot be used.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleRefused(
            Refusal.MALFORMED,
            f"{folder}: has no {MANIFEST}: begin with `orchestrator bundle init`, or write one beside an agent asset",
        )
    contents = _of_asset(folder, load) if (folder / ASSET).is_file() else read_folder(folder)
    return Releasable(contents=contents, runtime=bundle_runtime(contents.manifest, folder))


def _of_asset(folder: Path, load: Loaded) -> BundleContents:
    component = load(folder)
    if not isinstance(component, AgentComponent):
        raise BundleRefused(Refusal.MALFORMED, f"{folder / ASSET}: is no agent asset ({_COMPONENT})")
    said = parse_yaml(_AssetManifest, read_file(folder / MANIFEST, LONGEST_BYTES), MANIFEST)
    source = component.source(op_name(component.asset.key))
    named = (source.portable.model,) if source.portable is not None else ()
    try:
        manifest = Manifest(
            bundle=said.bundle,
            name=said.name,
            version=said.version,
            summary=said.summary,
            licence=said.licence,
            framework=component.framework,
            profile=component.profile,
            entrypoint=source.entrypoint,
            portable=source.portable,
            options=source.options,
            inputs=said.inputs,
            output=component.known_output_schema,
            tools=said.tools,
            models=said.models or named,
            resources=said.resources,
            permissions=said.permissions,
            pricing=said.pricing,
            terms=said.terms,
            thresholds=said.thresholds,
        )
        place = code_folder(folder, component.code)
    except (ValueError, WrongValue) as error:
        raise BundleRefused(Refusal.MALFORMED, f"{folder / MANIFEST}: {error}") from error
    profile = () if component.profile is None else (component.profile, f"{Path(component.profile).stem}.lock")
    others = NOT_CODE | {MANIFEST, EVALUATION, *profile}
    # the documentation stays among the code: a portable agent has no other file
    contents = BundleContents(
        manifest=manifest,
        code=pack_code(place, only=frozenset(component.files), leave_out=others),
        documentation=read_file(folder / DOCUMENTATION, DOCUMENTATION_BYTES),
        evaluation=read_file(folder / EVALUATION, EVALUATION_BYTES),
    )
    check_contents(contents)
    return contents


def agent_folder(project: Path, asset: str) -> Path:
    """Return the folder of an agent asset of a project.

    Args:
        project: A folder in the project.
        asset: Key of the asset, its parts joined by `/`.

    Raises:
        AgentError: `invalid_input` when there is no such asset, or no project.
    """
    tree = _tree(project, f"{asset!r} is no folder with a {MANIFEST}, and")
    found: list[str] = []
    for file in sorted(tree.defs_module_path.rglob(ASSET)):
        if _COMPONENT not in file.read_text(errors="replace"):
            continue
        component = _loaded(tree, file.parent)
        if isinstance(component, AgentComponent):
            key = component.asset.key.to_user_string()
            if key == asset:
                return file.parent
            found.append(key)
    raise AgentError(
        ErrorCode.INVALID_INPUT,
        f"the project has no agent asset {asset!r}; there are {', '.join(found) or 'none'}",
    )


def loaded_alone(folder: Path) -> object:
    """Return the component of a folder of a project that is not loaded yet.

    Raises:
        AgentError: `invalid_input` when it is in no project, or cannot be loaded.
    """
    return _loaded(_tree(folder, ""), folder)


def _tree(place: Path, before: str) -> dg.ComponentTree:
    try:
        return dg.ComponentTree.for_project(place)
    except Exception as error:  # Dagster's errors of a project have no common root
        said = f"{before} {place} is in no project that Dagster can load".strip()
        raise AgentError(ErrorCode.INVALID_INPUT, said, cause=str(error)) from error


def _loaded(tree: dg.ComponentTree, folder: Path) -> object:
    try:
        found: object = tree.load_component(folder)
    except Exception as error:  # as above
        cause = error.__cause__ or error
        raise AgentError(
            ErrorCode.INVALID_INPUT, f"{folder / ASSET}: cannot be loaded", cause=str(cause).strip()
        ) from error
    return found
