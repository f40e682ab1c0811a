"""`orchestrator compat`: does the adapter of a framework work with another version of it?"""

import click
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from orchestrator_defs.conformance_commands import finish, run_suite
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_profiles import resolve
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.profiles import FrameworkProfile


def at_version(profile: FrameworkProfile, version: str) -> list[str]:
    """Return a framework's requirements with the framework itself at `version`, and nothing else pinned."""
    wanted: list[str] = []
    for text in profile.requirements:
        requirement = Requirement(text)
        own = canonicalize_name(requirement.name) == canonicalize_name(profile.distribution)
        requirement.specifier = SpecifierSet(f"=={version}" if own else "")
        wanted.append(str(requirement))
    return wanted


def _a_version(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return str(Version(value))
    except InvalidVersion as error:
        raise click.BadParameter(f"{value!r} is none, such as 1.2.3") from error


@click.command()
@click.argument("name", metavar="FRAMEWORK")
@click.argument("version", callback=_a_version)
@click.option("--keep", is_flag=True, help="Keep the environment afterwards.")
def compat(name: str, version: str, keep: bool) -> None:
    """Run the conformance suite with another version of a framework, in an environment of its own.

    So that an upgrade is a decision with evidence: prints the matrix and, last, `N passed, N failed`; the exit
    status is 1 when anything failed. What the framework needs beside itself is resolved anew, preferring the
    versions of its lock.
    """
    profile = framework(name)
    if profile.node_lock_file is not None:
        raise click.UsageError(
            f"{name} is locked by npm: change its version in package.json, and its lock with `npm install`"
        )
    click.echo(f"{name} {version}: resolving")
    wanted = at_version(profile, version)
    lock = Lock(python=resolve(wanted, preferred=profile.lock().python, name=f"{name} {version}"))
    store = EnvironmentStore(home_folder())
    known = store.find(lock)
    environment = known or store.install(lock, name=f"{name} {version}", progress=click.echo)
    try:
        run = run_suite(profile, environment.python)
    finally:
        if known is None and not keep:
            store.remove(environment.digest)
    finish([run], complete=True)
