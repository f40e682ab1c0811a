"""Runtime profiles: a framework and what a team's agents need beside it, in one environment.

A profile is a TOML file, `research.toml`, that lies with the agents; its hashed lock lies beside it and is kept in
version control like it, so that the same profile is the same environment everywhere. The framework's own lock is
preferred while resolving: a profile changes a pin of it only where a requirement asks for that.
"""

import hashlib
import json
import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from orchestrator_resources.environments import lock_digest, uv
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.profiles import FrameworkProfile

_STAMP: Final = "# resolved from "
_CAUSE: Final = re.compile(r"^\s*cause: (.*?)(?:\n\n|\nhint|\Z)", re.DOTALL | re.MULTILINE)
_KEYS: Final = frozenset({"framework", "requirements"})


@dataclass(frozen=True, kw_only=True)
class RuntimeProfile(FrameworkProfile):
    """A framework with further requirements.

    Attributes:
        lock_text: The hashed requirements of both.
        foreign: Whether somebody else wrote it, who is not trusted with the process that installs it.
    """

    lock_text: str
    foreign: bool = False

    def lock(self) -> Lock:
        """Return the lock of the profile, not that of the framework alone."""
        node = FrameworkProfile.lock(self).node
        return Lock(python=self.lock_text, node=node, wheels_only=self.foreign)


def lock_file(profile: Path) -> Path:
    """Return where the lock of a profile lies: beside it, `research.toml` and `research.lock`."""
    return profile.with_suffix(".lock")


def foreign_profile(base: FrameworkProfile, lock: str) -> RuntimeProfile:
    """Return a framework in an environment that somebody else locked: only wheels of it are installed.

    Args:
        base: The framework.
        lock: Hashed requirements, those of the framework among them.
    """
    return replace(_profile(base, lock), foreign=True)


def load_profile(file: Path) -> RuntimeProfile:
    """Read a profile and its lock.

    Raises:
        AgentError: `agent_load_failed` when the file is no profile, or its lock is missing or was resolved from
            something else; the message says what to run.
    """
    base, requirements = _read(file)
    lock = lock_file(file)
    text = lock.read_text() if lock.is_file() else ""
    if not text.startswith(_stamp(base, requirements)):
        state = "is older than the profile" if text else "is missing"
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"{lock.name} {state}: run `orchestrator runtimes install {file.name}` where it lies, and keep both files",
        )
    return _profile(base, text)


def resolve_profile(file: Path) -> RuntimeProfile:
    """Read a profile, and resolve its lock first when it is missing or older than the profile or its framework.

    Raises:
        AgentError: `agent_load_failed` when the file is no profile, or nothing satisfies it; the resolver's reason
            is the cause.
    """
    base, requirements = _read(file)
    lock, stamp = lock_file(file), _stamp(base, requirements)
    if not lock.is_file() or not lock.read_text().startswith(stamp):
        wanted = [*base.requirements, *requirements]
        _write_whole(lock, stamp + "\n" + resolve(wanted, preferred=base.lock().python, name=file.stem))
    return load_profile(file)


def _write_whole(file: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it: its first line vouches for the rest."""
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as folder:
            made = Path(folder, file.name)
            made.write_text(text)
            made.replace(file)
    except OSError as error:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"the lock {str(file)!r} cannot be written: {error.strerror}"
        ) from error


def resolve(requirements: Sequence[str], *, preferred: str, name: str) -> str:
    """Return a hashed lock of requirements, for every supported Python version.

    Args:
        requirements: One requirement each.
        preferred: A lock whose pins are kept where the requirements allow; empty prefers the newest versions.
        name: What it is for, in errors.

    Raises:
        AgentError: `agent_load_failed` with the resolver's reason as the cause.
    """
    with tempfile.TemporaryDirectory(prefix="resolve-") as folder:
        output = Path(folder, "lock.txt")  # the resolver keeps the pins that it finds in its output file
        output.write_text(preferred)
        try:
            uv(
                "pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--generate-hashes", "--no-header",
                "--no-annotate", f"--output-file={output}", "-", name=name, text="\n".join(requirements),
            )  # fmt: skip
        except AgentError as error:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"the requirements of {name!r} cannot be installed together; change one of {', '.join(requirements)}",
                cause=_reason(error.cause or error.message),
            ) from error
        return output.read_text()


def _reason(said: str) -> str:
    """Return the resolver's reason in one line, without its advice."""
    found = _CAUSE.search(said)
    return " ".join((found[1] if found else said).split())


def locked_version(lock: Lock, distribution: str) -> str:
    """Return the version that a lock holds of a distribution or Node package; empty when it holds none."""
    if lock.node is not None:
        packages: dict[str, dict[str, str]] = json.loads(lock.node.lock)["packages"]
        if (package := packages.get(f"node_modules/{distribution}")) is not None:
            return package["version"]
    name = re.escape(canonicalize_name(distribution))  # as the resolver writes it
    found = re.search(rf"^{name}==([^\s;\\]+)", lock.python, re.MULTILINE)
    return found[1] if found else ""


def _read(file: Path) -> tuple[FrameworkProfile, tuple[str, ...]]:
    def refused(why: str) -> AgentError:
        return AgentError(ErrorCode.AGENT_LOAD_FAILED, f"the runtime profile {str(file)!r} {why}")

    try:
        content: dict[str, object] = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise refused("does not exist") from None
    except (OSError, ValueError) as error:
        raise refused(f"is no TOML: {error}") from error
    if unknown := sorted(set(content) - _KEYS):
        raise refused(f"has the unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    name, given = content.get("framework"), content.get("requirements", [])
    if not isinstance(name, str):
        raise refused('names no framework: write framework = "langgraph"')
    listed = cast("list[object]", given) if isinstance(given, list) else [None]
    requirements = tuple(one for one in listed if isinstance(one, str))
    if len(requirements) != len(listed):
        raise refused('has requirements that are no list of texts: write requirements = ["pypdf==6.1.0"]')
    for one in requirements:
        try:
            Requirement(one)
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            raise refused(f"has the requirement {one!r}, which is none: {why}") from error
    return framework(name), requirements


def _stamp(base: FrameworkProfile, requirements: Sequence[str]) -> str:
    """Return the first line of a lock, which tells what it was resolved from."""
    told = json.dumps([lock_digest(base.lock()), sorted(requirements)])
    return _STAMP + hashlib.sha256(told.encode()).hexdigest()


def _profile(base: FrameworkProfile, lock: str) -> RuntimeProfile:
    return RuntimeProfile(**{field.name: getattr(base, field.name) for field in fields(base)}, lock_text=lock)
