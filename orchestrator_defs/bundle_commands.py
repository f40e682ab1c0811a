"""`orchestrator bundle`: make an agent one that others can run. Nothing of a bundle's code is imported or run here."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.locks import Lock

if TYPE_CHECKING:
    from orchestrator_marketplace.acceptance import Accepted
    from orchestrator_marketplace.bundle_artifacts import Bundle
    from orchestrator_marketplace.folders import BundleContents
    from orchestrator_marketplace.layouts import Layout
    from orchestrator_marketplace.oci import Descriptor
    from orchestrator_marketplace.policies import Decision

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_LAYOUT = click.argument("layout", type=click.Path(exists=True, file_okay=False, path_type=Path))
_TRUST = click.option("--trust", required=True, type=_FILE, help="Publishers and their keys (YAML).")
_POLICY = click.option("--policy", type=_FILE, help="What tenants take (YAML); needs --tenant.")
_TENANT = click.option("--tenant", help="Whose policy.")
_ADVISORIES = click.option(
    "--advisories",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Mirror of an advisory database: a folder of OSV records, plain or zipped.",
)
_INSECURE = click.option(
    "--insecure", is_flag=True, help="Speak plain HTTP to a registry that is not on this machine."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def bundle() -> None:
    """Bundles: begin one, check, build, sign, push, pull, inspect; decide what a tenant takes.

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
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def key(file: Path) -> None:
    """Make a key that bundles are signed with: FILE for its owner alone, FILE.pub for everybody.

    With a password in ORCHESTRATOR_BUNDLE_KEY_PASSWORD, FILE is encrypted.
    """
    from orchestrator_marketplace.signing_keys import write_key_pair

    public = file.with_name(f"{file.name}.pub")
    write_key_pair(file, public)
    print(f"{file} signs; {public} is what others trust")


@bundle.command()
@_LAYOUT
@click.option("--key", "file", required=True, type=_FILE, help="Private key, PEM.")
@click.option(
    "--certificate", type=_FILE, help="Certificate of the key, PEM, where an authority vouches for it."
)
@click.option(
    "--days", type=click.IntRange(1, 3_650), default=365, show_default=True, help="How long it holds."
)
@click.option("--source", help="Where the folder is from: the address of its repository.")
@click.option("--commit", help="Commit of the source.")
def sign(
    layout: Path, file: Path, certificate: Path | None, days: int, source: str | None, commit: str | None
) -> None:
    """Sign the bundle in LAYOUT, and say how it came about: signature and provenance lie beside it."""
    from orchestrator_marketplace.signatures import Signer, sign_bundle
    from orchestrator_marketplace.signing_keys import load_certificate, load_private_key
    from orchestrator_marketplace.statements import Source

    if commit is not None and source is None:
        raise click.UsageError("--commit is of a --source")
    opened, entry, shown = open_layout(layout)
    signer = Signer(
        key=load_private_key(file), certificate=None if certificate is None else load_certificate(certificate)
    )
    origin = None if source is None else Source(uri=source, commit=commit)
    sign_bundle(opened, shown, signer, datetime.now(UTC), days=days, source=origin)
    print(
        f"{shown.contents.manifest.name} {shown.contents.manifest.version} {entry.digest}: signed for {days} days"
    )


@bundle.command()
@_LAYOUT
@click.argument("registry")
@_INSECURE
def push(layout: Path, registry: str, *, insecure: bool) -> None:
    """Store the bundle in LAYOUT, with what is signed of it, at REGISTRY, a host and perhaps a prefix.

    The bundle's name and version are its repository and tag there. A version is never replaced.
    """
    from orchestrator_marketplace.references import parse_reference
    from orchestrator_marketplace.registries import Repository
    from orchestrator_marketplace.transfers import push_bundle

    opened, entry, shown = open_layout(layout)
    manifest = shown.contents.manifest
    reference = parse_reference(f"{registry.rstrip('/')}/{manifest.name}:{manifest.version}")
    with Repository(reference, insecure=insecure) as repository:
        done = push_bundle(opened, entry, repository)
    print(f"{reference.pinned(entry.digest)}: {done.moved} parts sent, {done.kept} were there")


@bundle.command()
@click.argument("reference")
@click.option(
    "--to", "root", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where to."
)
@_TRUST
@_POLICY
@_TENANT
@_ADVISORIES
@click.option("--allow-lower", is_flag=True, help="Take a version that is lower than what was here.")
@_INSECURE
def pull(
    reference: str,
    root: Path,
    trust: Path,
    policy: Path | None,
    tenant: str | None,
    advisories: Path | None,
    *,
    allow_lower: bool,
    insecure: bool,
) -> None:
    """Fetch the bundle REFERENCE, check it and install it: whole, or nothing of it."""
    from orchestrator_marketplace.installations import Installations
    from orchestrator_marketplace.publishers import read_publishers
    from orchestrator_marketplace.pulls import pull_bundle
    from orchestrator_marketplace.references import parse_reference
    from orchestrator_marketplace.registries import Repository

    if (policy is None) != (tenant is None):
        raise click.UsageError("--policy and --tenant go together")
    publishers = read_publishers(trust)

    def allowed(accepted: "Accepted") -> None:
        if policy is not None and tenant is not None:
            _decision(accepted, policy, tenant, advisories).enforce()

    with Repository(parse_reference(reference), insecure=insecure) as repository:
        pulled = pull_bundle(
            repository,
            Installations(root),
            publishers,
            datetime.now(UTC),
            lower=allow_lower,
            decide=allowed,
        )
    print(
        f"{pulled.accepted.bundle.digest} of {pulled.accepted.verified.publisher}, installed in {pulled.folder}"
    )


@bundle.command()
@_LAYOUT
@_TRUST
@click.option("--policy", required=True, type=_FILE, help="What tenants take (YAML).")
@click.option("--tenant", required=True, help="Whose policy.")
@_ADVISORIES
def decide(layout: Path, trust: Path, policy: Path, tenant: str, advisories: Path | None) -> None:
    """Say whether a tenant takes the bundle in LAYOUT, and what each rule saw; the exit status is 1 if not."""
    from orchestrator_marketplace.acceptance import accept_bundle
    from orchestrator_marketplace.publishers import read_publishers

    opened, entry, _shown = open_layout(layout)
    accepted = accept_bundle(opened, entry, read_publishers(trust), datetime.now(UTC))
    decision = _decision(accepted, policy, tenant, advisories)
    for line in decision.lines():
        print(line)
    if not decision.allowed:
        raise click.exceptions.Exit(1)


def _decision(accepted: "Accepted", policy: Path, tenant: str, advisories: Path | None) -> "Decision":
    from orchestrator_marketplace.policies import decide_by_files

    return decide_by_files(accepted, policy, tenant, advisories, datetime.now(UTC))


@bundle.command()
@_LAYOUT
@click.option("--trust", type=_FILE, help="Publishers and their keys (YAML): say whose the bundle is.")
@as_json
def inspect(layout: Path, trust: Path | None, *, as_json: bool) -> None:
    """Show the bundle in LAYOUT, an OCI image layout: what it is, asks for and holds."""
    from orchestrator_marketplace.publishers import read_publishers
    from orchestrator_marketplace.signatures import verify_bundle

    opened, _entry, shown = open_layout(layout)
    signed: dict[str, Any] = {}
    if trust is not None:
        verified = verify_bundle(opened, shown, read_publishers(trust), datetime.now(UTC))
        signed = {
            "publisher": verified.publisher,
            "expires": verified.expires and verified.expires.isoformat(),
            "provenance": dict(verified.provenance.predicate),
        }
    _tell(shown, signed, as_json=as_json)


def open_layout(folder: Path) -> "tuple[Layout, Descriptor, Bundle]":
    """Return a layout, its one bundle's entry, and the bundle, checked.

    Raises:
        BundleRefused: What is wrong with it.
    """
    from orchestrator_marketplace.bundle_artifacts import BUNDLE_TYPE, open_bundle
    from orchestrator_marketplace.layouts import Layout

    layout = Layout(folder)
    entry = layout.only(BUNDLE_TYPE)
    return layout, entry, open_bundle(layout, entry)


def _tell(shown: "Bundle", signed: dict[str, Any], *, as_json: bool) -> None:
    from orchestrator_marketplace.bundle_artifacts import PARTS
    from orchestrator_marketplace.manifests import manifest_bytes

    told: dict[str, Any] = json.loads(manifest_bytes(shown.contents.manifest))
    told |= {
        "digest": shown.digest,
        "packages": len(shown.packages),
        "evaluation_cases": len(shown.contents.cases()),
        "parts": {PARTS[kind].file: len(content) for kind, content in shown.parts.items()},
        **signed,
    }
    if as_json:
        print(json.dumps(told))
        return
    width = max(map(len, told))
    for key, value in told.items():
        print(f"{key:<{width}}  {value if isinstance(value, str) else json.dumps(value)}")


def _read(folder: Path) -> "tuple[BundleContents, Lock]":
    """Return a folder's contents, and the lock of its profile or else of its framework."""
    from orchestrator_marketplace.folders import read_folder
    from orchestrator_resources.bundle_environments import bundle_runtime

    contents = read_folder(folder)
    return contents, bundle_runtime(contents.manifest, folder).lock()
