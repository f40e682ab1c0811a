"""Known weaknesses of packages, from a mirror of an advisory database in the OSV format, https://ossf.github.io/osv-schema/.

A mirror is a folder of records: `*.json`, in folders of any depth, or `*.zip` of such files, as OSV itself offers them.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from packaging.utils import canonicalize_name

from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.osv_records import Record
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.severities import Severity, severity_of
from orchestrator_marketplace.version_ranges import is_affected
from orchestrator_runtimes.codec import decode
from orchestrator_runtimes.json_values import NotJson, parse

RECORD_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """A known weakness of a package of a bundle.

    Attributes:
        advisory: Its id in the database.
        aliases: What other databases call it.
        package: Which package has it.
        severity: How bad it is.
        summary: What it is, as the database says; may be empty.
    """

    advisory: str
    aliases: tuple[str, ...]
    package: Package
    severity: Severity
    summary: str


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a mirror knows of packages.

    Attributes:
        weaknesses: The worst first; of advisories that are aliases of each other, one.
        records: How many records the mirror has.
        newest: When the newest of them was changed; None when it has none.
    """

    weaknesses: tuple[Weakness, ...]
    records: int
    newest: datetime | None


def scan(packages: Sequence[Package], mirror: Path) -> Scan:
    """Return what a mirror knows of packages.

    Raises:
        BundleRefused: `policy` when the mirror or a record of it cannot be read: what is not known is not safe.
    """
    by_name: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        by_name.setdefault((package.ecosystem, package.name), []).append(package)
    found: list[Weakness] = []
    records, newest = 0, datetime.min.replace(tzinfo=UTC)
    for place, content in _records(mirror):
        try:
            told = cast("Any", parse(content))
            records, newest = records + 1, max(newest, _moment(told["modified"]))
            if not _may_concern(told, by_name):
                continue
            record = decode(Record, told, "")
        except (NotJson, ValueError, TypeError, KeyError) as error:
            raise BundleRefused(Refusal.POLICY, f"{place}: is no record of OSV: {error}") from error
        if record.withdrawn is None:
            found += _weaknesses(record, by_name)
    worst = sorted(_without_aliases(found), key=lambda one: (-one.severity, one.package, one.advisory))
    return Scan(weaknesses=tuple(worst), records=records, newest=newest if records else None)


def _records(mirror: Path) -> Iterator[tuple[str, bytes]]:
    if not mirror.is_dir():
        raise BundleRefused(Refusal.POLICY, f"{mirror}: is no folder of advisories")
    for file in sorted(mirror.rglob("*")):
        if file.suffix == ".json":
            yield str(file), file.read_bytes()  # of the operator, who chose how large it is
        elif file.suffix == ".zip":
            yield from _zipped(file)


def _zipped(file: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".json"):
                    with archive.open(entry) as opened:
                        content = opened.read(RECORD_BYTES + 1)
                    if len(content) > RECORD_BYTES:
                        raise ValueError(f"{entry.filename} is longer than {RECORD_BYTES} bytes")
                    yield f"{file}/{entry.filename}", content
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise BundleRefused(Refusal.POLICY, f"{file}: cannot be read", cause=str(error)) from error


def _may_concern(told: Any, by_name: Mapping[tuple[str, str], Sequence[Package]]) -> bool:
    """Tell whether a record names one of the packages; reading all others whole would take most of the time."""
    try:
        affected = told.get("affected", ())
        pairs = [
            (one["package"]["ecosystem"], one["package"]["name"]) for one in affected if "package" in one
        ]
        return any(_key(ecosystem, name) in by_name for ecosystem, name in pairs)
    except (TypeError, KeyError, AttributeError):
        return True  # it is none, which reading it whole tells


def _key(ecosystem: str, name: str) -> tuple[str, str]:
    kind = ecosystem.partition(":")[0]
    return kind, canonicalize_name(name) if kind == "PyPI" else name


def _weaknesses(record: Record, by_name: Mapping[tuple[str, str], Sequence[Package]]) -> Iterator[Weakness]:
    for affected in record.affected:
        if (named := affected.package) is None:
            continue
        for package in by_name.get(_key(named.ecosystem, named.name), ()):
            if is_affected(package, affected):
                yield Weakness(
                    advisory=record.id,
                    aliases=record.aliases,
                    package=package,
                    severity=severity_of(record, affected),
                    summary=record.summary[:200],
                )


def _without_aliases(found: Iterable[Weakness]) -> list[Weakness]:
    """Keep one of the advisories that mean the same: the worst that says how bad it is."""
    kept: list[Weakness] = []
    for one in sorted(found, key=lambda one: (one.severity is Severity.UNKNOWN, -one.severity, one.advisory)):
        names = {one.advisory, *one.aliases}
        if not any(
            one.package == other.package and names & {other.advisory, *other.aliases} for other in kept
        ):
            kept.append(one)
    return kept


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
