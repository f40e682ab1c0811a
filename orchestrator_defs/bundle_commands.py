"""`orchestrator bundle`: make an agent one that others can run. Nothing of a bundle's code is imported or run here."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator_resources.runtime_profiles import load_profile
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.locks import Lock

if TYPE_CHECKING:
    from orchestrator_marketplace.bundle_artifacts import Bundle
    from orchestrator_marketplace.folders import BundleContents

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Bundles(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        if find_spec("orchestrator_marketplace") is None:
            raise click.ClickException("a library is missing: install agent-orchestrator[marketplace]")
        return super().invoke(ctx)


@click.group(cls=_Bundles)
def bundle() -> None:
    """Bundles: begin one, check, build, inspect.

    A bundle is a folder with bundle.yaml, agent/, README.md and evaluation.jsonl; built, it is an OCI artifact.
    """


@bundle.command()
@click.argument("name")
@click.option(
    "--framework", "framework_name", default="langgraph", show_default=True, help="What it is written in."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where; default the agent's name, here.")
def init(name: str, framework_name: str, folder: Path | None) -> None:
    """Write a first bundle NAME, which is PUBLISHER/AGENT, with the framework's template agent in it."""
    from orchestrator_marketplace.names import parse_name
    from orchestrator_marketplace.starters import write_starter

    parsed = parse_name(name)
    for file in write_starter(folder or Path(parsed.agent), parsed, framework(framework_name)):
        print(file)


@bundle.command()
@_FOLDER
def check(folder: Path) -> None:
    """Check the bundle in FOLDER: its manifest, and that all that it names is there."""
    contents, _lock = _read(folder)
    manifest = contents.manifest
    asked = ", ".join(manifest.permissions.asked()) or "nothing"
    cases = len(contents.cases())
    print(f"{manifest.name} {manifest.version}: is a bundle; evaluation cases: {cases}; asks for: {asked}")


@bundle.command()
@_FOLDER
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="OCI image layout to add it to; default FOLDER/dist.",
)
def build(folder: Path, output: Path | None) -> None:
    """Build the bundle in FOLDER; the same folder gives the same digest anywhere."""
    from orchestrator_marketplace.bundle_artifacts import build_bundle
    from orchestrator_marketplace.layouts import Layout

    contents, lock = _read(folder)
    layout = Layout(output or folder / "dist")
    entry = build_bundle(contents, lock, layout)
    print(f"{contents.manifest.name} {contents.manifest.version} {entry.digest} in {layout.folder}")


@bundle.command()
@click.argument("layout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@as_json
def inspect(layout: Path, *, as_json: bool) -> None:
    """Show the bundle in LAYOUT, an OCI image layout: what it is, asks for and holds."""
    from orchestrator_marketplace.bundle_artifacts import BUNDLE_TYPE, open_bundle
    from orchestrator_marketplace.layouts import Layout

    opened = Layout(layout)
    _tell(open_bundle(opened, opened.only(BUNDLE_TYPE)), as_json=as_json)


def _tell(shown: "Bundle", *, as_json: bool) -> None:
    from orchestrator_marketplace.bundle_artifacts import PARTS
    from orchestrator_marketplace.manifests import manifest_bytes

    told: dict[str, Any] = json.loads(manifest_bytes(shown.contents.manifest))
    told |= {
        "digest": shown.digest,
        "packages": len(shown.packages),
        "evaluation_cases": len(shown.contents.cases()),
        "parts": {PARTS[kind].file: len(content) for kind, content in shown.parts.items()},
    }
    if as_json:
        print(json.dumps(told))
        return
    width = max(map(len, told))
    for key, value in told.items():
        print(f"{key:<{width}}  {value if isinstance(value, str) else json.dumps(value)}")


def _read(folder: Path) -> "tuple[BundleContents, Lock]":
    """Return a folder's contents, and the lock of its profile or else of its framework."""
    from orchestrator_marketplace.folders import check_framework, read_folder
    from orchestrator_marketplace.refusals import BundleRefused, Refusal

    contents = read_folder(folder)
    manifest = contents.manifest
    runtime = framework(manifest.framework)
    check_framework(manifest, runtime)
    if manifest.profile is None:
        return contents, runtime.lock()
    profile = load_profile(folder / manifest.profile)
    if profile.name != manifest.framework:
        raise BundleRefused(
            Refusal.MALFORMED,
            f"{manifest.profile}: is of the framework {profile.name}, and the bundle of {manifest.framework}",
        )
    return contents, profile.lock()
