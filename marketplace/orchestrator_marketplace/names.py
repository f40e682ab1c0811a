"""Names and versions of bundles.

Laws: a name is `publisher/agent` and belongs to its publisher; it is a repository of any OCI registry as it stands.
A version has one spelling, is a tag as it stands, and versions are ordered as PEP 440 orders them.
"""

import re
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from orchestrator_marketplace.refusals import BundleRefused, Refusal

LONGEST_PART: Final = 40
"""Characters of a publisher or an agent: with the longest prefix that registries take, the whole stays below 255."""

_PART: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_VERSION: Final = re.compile(
    r"(?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){2}(?:(?:a|b|rc)(?:0|[1-9]\d{0,8}))?"
)
_ALIKE: Final = (("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("-", ""), ("rn", "m"), ("vv", "w"))


@dataclass(frozen=True, kw_only=True, order=True)
class BundleName:
    """Whose agent, and which.

    Attributes:
        publisher: Who answers for it.
        agent: Its name among those of the publisher.
    """

    publisher: str
    agent: str

    def __str__(self) -> str:
        """Return `publisher/agent`."""
        return f"{self.publisher}/{self.agent}"


def is_part(text: str) -> bool:
    """Tell whether a text may be the name of a publisher or of an agent."""
    return len(text) <= LONGEST_PART and _PART.fullmatch(text) is not None


def parse_name(text: str) -> BundleName:
    """Return the name that a text spells.

    Raises:
        BundleRefused: `malformed`, with what a name looks like.
    """
    publisher, slash, agent = text.partition("/")
    if not slash or not is_part(publisher) or not is_part(agent):
        raise BundleRefused(
            Refusal.MALFORMED,
            f"name: {text!r:.120} must be publisher/agent, each of lower-case letters, digits and single hyphens,"
            f" beginning with a letter, at most {LONGEST_PART} characters",
        )
    return BundleName(publisher=publisher, agent=agent)


def parse_version(text: str) -> Version:
    """Return the version that a text spells, in its only spelling.

    Raises:
        BundleRefused: `malformed`, with what a version looks like.
    """
    if _VERSION.fullmatch(text) is not None:  # which is narrower than PEP 440
        return Version(text)
    raise BundleRefused(
        Refusal.MALFORMED,
        f"version: {text!r:.80} must be three numbers, such as 1.4.0, or before a release 1.5.0a1, 1.5.0b2, 1.5.0rc1",
    )


def skeleton(publisher: str) -> str:
    """Return what is left of a name when characters that look alike are one; two names with the same are mistaken."""
    for shown, meant in _ALIKE:
        publisher = publisher.replace(shown, meant)
    return publisher
