"""`orchestrator runtimes list`, `install`, `compare` and `remove`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from orchestrator_defs.runtime_measurements import EXECUTIONS, Measurements, measure
from orchestrator_defs.text_tables import text_table
from orchestrator_resources.environments import Environment, EnvironmentStore, describe
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_profiles import load_profile, locked_version, resolve_profile
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

DIGEST_CHARACTERS: Final = 6
"""Fewest characters of a digest that name an environment."""


def is_profile(name: str) -> bool:
    """Return whether `name` is a runtime profile's file rather than a framework's name."""
    return name.endswith(".toml")


def as_row(profile: FrameworkProfile, environment: Environment | None) -> dict[str, Any]:
    """Return what `list` tells of a framework."""
    missing = [c.value for c in Capability if not profile.capabilities[c].supported]
    return {
        "framework": profile.name,
        "version": locked_version(profile.lock(), profile.distribution),
        "licence": profile.licence,
        "installed": describe(environment) if environment is not None else None,
        "capabilities": [c.value for c in Capability if c.value not in missing],
        "missing": {name: profile.capabilities[Capability(name)].reason for name in missing},
        "homepage": profile.homepage,
    }


def megabytes(environment: Mapping[str, Any] | None) -> str:
    """Return the size of an environment for people; a dash for None."""
    return f"{int(environment['size']) / 2**20:.0f} MB" if environment is not None else "-"


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with the reason of each missing capability."
)
def list_runtimes(as_json: bool) -> None:
    """List the frameworks: version, licence, size, what they cannot do, and whether they are installed."""
    store = EnvironmentStore(home_folder())
    profiles = list(installed_frameworks().values())
    rows = [as_row(profile, store.find(profile.lock())) for profile in profiles]
    own = {store.digest(profile.lock()) for profile in profiles}
    others = [environment for environment in store.installed() if environment.digest not in own]
    if as_json:
        told = {"frameworks": rows, "other_environments": [describe(environment) for environment in others]}
        click.echo(json.dumps(told, indent=2))
        return
    head = ["framework", "version", "licence", "size", "installed", "cannot"]
    lines = [
        [
            row["framework"], row["version"], row["licence"], megabytes(row["installed"]),
            "yes" if row["installed"] else "no", ", ".join(row["missing"]) or "-",
        ]
        for row in rows
    ]  # fmt: skip
    click.echo(text_table([head, *lines]))
    if others:
        click.echo("\nother environments: of the embedded model, of profiles, of earlier versions:")
        click.echo(text_table([[one.name, one.digest[:12], megabytes(describe(one))] for one in others]))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|PROFILE.toml...")
def install(names: Sequence[str]) -> None:
    """Install frameworks by name, or runtime profiles by file.

    A profile that has no lock yet, or an older one, is resolved first; its lock is written beside it. What is installed
    already is left as it is, and an install that was cut off is begun again.
    """
    store = EnvironmentStore(home_folder())
    for name in names:
        profile: FrameworkProfile = resolve_profile(Path(name)) if is_profile(name) else framework(name)
        title = Path(name).stem if is_profile(name) else name
        if store.find(profile.lock()) is None:
            click.echo(f"{title}: {profile.title} is published under {profile.licence}, {profile.homepage}")
            if profile.notice:
                click.echo(f"{title}: {profile.notice}")
        environment = store.install(profile.lock(), name=title, progress=click.echo)
        click.echo(f"{title}: ready, {environment.digest[:12]}, {megabytes(describe(environment))}")


@click.command()
@click.argument("name", metavar="NAME|PROFILE.toml|DIGEST")
def remove(name: str) -> None:
    """Remove the environment of a framework or profile, or the one whose digest begins with DIGEST.

    Projects that share it install it again when they need it.
    """
    store = EnvironmentStore(home_folder())
    if is_profile(name):
        digests = [store.digest(load_profile(Path(name)).lock())]
    elif name in installed_frameworks():
        digests = [store.digest(framework(name).lock())]
    else:
        known = [*(one.digest for one in store.installed()), *(folder.name for folder in store.remains())]
        digests = [digest for digest in known if digest.startswith(name) and len(name) >= DIGEST_CHARACTERS]
    if len(digests) != 1:
        raise click.ClickException(
            f"{name!r} names {len(digests) or 'no'} environment{'s' * (len(digests) > 1)}: give a framework,"
            f" a profile's file, or at least {DIGEST_CHARACTERS} characters of a digest; `orchestrator runtimes list`"
            " shows them"
        )
    if not store.remove(digests[0]):
        raise click.ClickException(f"{name} is not installed")
    click.echo(f"{name}: removed {digests[0][:12]}")


@click.command()
@click.argument("one")
@click.argument("other")
@click.option(
    "--measure/--no-measure", "measured", default=True, help="Start both and measure; default: yes."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(one: str, other: str, measured: bool, as_json: bool) -> None:
    """Compare two frameworks: versions, licences, sizes, capabilities, and what an execution costs.

    Both are started, and each runs the same portable agent against a scripted model that answers at once: what
    is measured is the framework and its runtime, not a model.
    """
    store = EnvironmentStore(home_folder())
    profiles = [framework(name) for name in (one, other)]
    environments = [store.find(profile.lock()) for profile in profiles]
    figures: list[Measurements | None] = [None, None]
    if measured:
        for profile, environment in zip(profiles, environments, strict=True):
            if environment is None:
                raise click.ClickException(
                    f"{profile.name} is not installed: run `orchestrator runtimes install {profile.name}`,"
                    " or compare with --no-measure"
                )
        figures = [
            measure(profile, environment.python) if environment is not None else None
            for profile, environment in zip(profiles, environments, strict=True)
        ]
    rows = [as_row(profile, environment) for profile, environment in zip(profiles, environments, strict=True)]
    if as_json:
        both = [{**row, "measured": asdict(f) if f else None} for row, f in zip(rows, figures, strict=True)]
        click.echo(json.dumps(both, indent=2))
        return
    lines = [["", one, other]]
    lines += [[key, *(str(row[key]) for row in rows)] for key in ("version", "licence", "homepage")]
    lines.append(["size", *(megabytes(row["installed"]) for row in rows)])
    lines += [
        [c.value, *("yes" if c.value in row["capabilities"] else "no" for row in rows)] for c in Capability
    ]
    if measured:
        known = [figure for figure in figures if figure is not None]
        lines += [
            ["time to ready", *(f"{figure.ready_seconds:.1f} s" for figure in known)],
            ["time of an execution", *(f"{figure.milliseconds:.1f} ms" for figure in known)],
            ["CPU of an execution", *(f"{figure.cpu_milliseconds:.1f} ms" for figure in known)],
            ["peak memory", *(f"{figure.peak_mb:.0f} MB" for figure in known)],
        ]
    click.echo(text_table(lines))
    for row in rows:
        for name, reason in row["missing"].items():
            click.echo(f"{row['framework']} has no {name}: {reason}")
    if measured:
        click.echo(
            f"measured over {EXECUTIONS} executions of one model call, after a warm-up, in one process"
        )
