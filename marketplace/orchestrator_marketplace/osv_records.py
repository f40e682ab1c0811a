"""Records of an advisory database, as far as they matter here; what else they hold is not looked at.

https://ossf.github.io/osv-schema/
"""

from dataclasses import dataclass

from orchestrator_runtimes.json_values import Json


@dataclass(frozen=True, kw_only=True)
class AffectedPackage:
    """Which package: `ecosystem` may have a release behind a colon."""

    ecosystem: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """A version at which something changes; one of these is there."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None


@dataclass(frozen=True, kw_only=True)
class Range:
    """Versions of one kind of numbering."""

    type: str
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Score:
    """A vector of a scoring system."""

    type: str
    score: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a database says beside the schema; `severity` is a word where it is one."""

    severity: Json = None


@dataclass(frozen=True, kw_only=True)
class Affected:
    """What a record says of one package; `package` is None for a range of commits."""

    package: AffectedPackage | None = None
    ranges: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    severity: tuple[Score, ...] = ()
    database_specific: Judged | None = None
    ecosystem_specific: Judged | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """An advisory; moments are texts of RFC 3339, `withdrawn` is None while it stands."""

    id: str
    modified: str
    withdrawn: str | None = None
    aliases: tuple[str, ...] = ()
    summary: str = ""
    affected: tuple[Affected, ...] = ()
    severity: tuple[Score, ...] = ()
    database_specific: Judged | None = None
