"""What a bundle's environment is made of: the packages of its locks, which hold nothing but pins with hashes."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.json_values import NotJson, parse
from orchestrator_runtimes.locks import Lock

LOCK_BYTES: Final = 4 * 2**20
NODE_LOCK_BYTES: Final = 16 * 2**20
MOST_PACKAGES: Final = 20_000

_HASH: Final = re.compile(r"\s--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_NODE_NAME: Final = re.compile(r"(?:@[\w.~-]{1,100}/)?[\w.~-]{1,200}", re.ASCII)
_NODE_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,100}")


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """A package of an environment.

    Attributes:
        ecosystem: As advisories name it.
        name: In the normal form of its ecosystem.
        version: As the lock pins it.
    """

    ecosystem: Literal["PyPI", "npm"]
    name: str
    version: str

    @property
    def purl(self) -> str:
        """The package URL, https://github.com/package-url/purl-spec."""
        version = self.version.replace("+", "%2B")
        if self.ecosystem == "PyPI":
            return f"pkg:pypi/{self.name}@{version}"
        return f"pkg:npm/{self.name.replace('@', '%40')}@{version}"


def packages_of(lock: Lock) -> tuple[Package, ...]:
    """Return the packages of a lock, sorted, each once.

    Raises:
        BundleRefused: `oversized`; `malformed` for a line that is no pin with a hash: an address, an option, a folder.
    """
    node = () if lock.node is None else _node(lock.node.lock.encode())
    found = sorted({*_python(lock.python), *node})
    if len(found) > MOST_PACKAGES:
        raise BundleRefused(Refusal.OVERSIZED, f"lock: {len(found)} packages; the limit is {MOST_PACKAGES}")
    return tuple(found)


def _python(text: str) -> Iterator[Package]:
    for number, line in enumerate(_logical_lines(text), start=1):
        pins, hashes = _HASH.subn("", line)
        try:
            requirement = Requirement(pins)
            (pin,) = requirement.specifier
            version = Version(pin.version)
        except (InvalidRequirement, InvalidVersion, ValueError, RecursionError) as error:
            raise _refused(number, line) from error
        if not hashes or pin.operator != "==" or requirement.url is not None:
            raise _refused(number, line)
        yield Package(ecosystem="PyPI", name=canonicalize_name(requirement.name), version=str(version))


def _logical_lines(text: str) -> Iterator[str]:
    joined = text.replace("\\\n", " ")
    lines = (line.strip() for line in joined.splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def _refused(number: int, line: str) -> BundleRefused:
    return BundleRefused(
        Refusal.MALFORMED,
        f"lock, requirement {number}: {line!r:.80} is no `name==version` with hashes; locks hold nothing else",
    )


def _node(content: bytes) -> Iterator[Package]:
    try:
        value = cast("Any", parse(content))
        entries: Mapping[str, Any] = value["packages"]
        for path, entry in entries.items():
            if not path or entry.get("link"):
                continue  # the project itself, and what stands elsewhere in the file
            name, version = entry.get("name") or path.rpartition("node_modules/")[2], entry["version"]
            if not _NODE_NAME.fullmatch(name) or not _NODE_VERSION.fullmatch(version):
                raise ValueError(json.dumps([name, version])[:200])
            yield Package(ecosystem="npm", name=name, version=version)
    except (NotJson, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, "lock: no package-lock.json of version 2 or 3", cause=str(error)
        ) from error
