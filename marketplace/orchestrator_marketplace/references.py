"""Where an artifact is: `host/repository:tag`, `host/repository@sha256:…`, or both."""

import re
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_marketplace.oci import is_digest
from orchestrator_marketplace.refusals import BundleRefused, Refusal

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?|\[[0-9a-fA-F:]{2,39}\])(?::\d{1,5})?"
)
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An artifact of a registry.

    Attributes:
        registry: Host, perhaps with a port.
        repository: Its name there.
        tag: None when only the digest says which one.
        digest: What it must be; None when whatever the tag names is wanted.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """Return it as people write it."""
        tag = "" if self.tag is None else f":{self.tag}"
        return f"{self.registry}/{self.repository}{tag}" + ("" if self.digest is None else f"@{self.digest}")

    @property
    def asked(self) -> str:
        """What the registry is asked for: the digest where there is one."""
        return self.digest or self.tag or "latest"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is no risk."""
        return re.sub(r":\d+$", "", self.registry) in LOOPBACK

    def pinned(self, digest: str) -> "Reference":
        """Return it with the digest that it must have."""
        return replace(self, digest=digest)


def parse_reference(text: str) -> Reference:
    """Return the reference that a text spells.

    Raises:
        BundleRefused: `malformed`, with what one looks like.
    """
    rest, at, digest = text.removeprefix("oci://").partition("@")
    registry, slash, path = rest.partition("/")
    repository, colon, tag = path.partition(":")
    if (
        not slash
        or len(text) > 512
        or not (_HOST.fullmatch(registry) and (set(registry) & set(".:") or registry in LOOPBACK))
        or not (_REPOSITORY.fullmatch(repository) and len(repository) <= 255)
        or (colon and not _TAG.fullmatch(tag))
        or (at and not is_digest(digest))
    ):
        raise BundleRefused(
            Refusal.MALFORMED,
            f"{text!r:.200} is no address: write host/repository:tag or host/repository@sha256:…, such as"
            " registry.example/acme/reviewer:1.2.0",
        )
    return Reference(
        registry=registry, repository=repository, tag=tag if colon else None, digest=digest if at else None
    )
