"""Whether a version is among those that a record of OSV affects; https://ossf.github.io/osv-schema/#evaluation."""

import re
from collections.abc import Callable
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.osv_records import Affected, Range

_SEMANTIC: Final = re.compile(
    r"v?(\d{1,18})\.(\d{1,18})\.(\d{1,18})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)

_INTRODUCED, _FIXED, _LAST = range(3)

Key = tuple[Any, ...]


def is_affected(package: Package, affected: Affected) -> bool:
    """Tell whether a package is among the versions of a record's part; it is where that cannot be told."""
    key = _python_key if package.ecosystem == "PyPI" else semantic_key
    at = key(package.version)
    ranges = [one for one in affected.ranges if one.type in ("ECOSYSTEM", "SEMVER")]
    if at is None or not (ranges or affected.versions):
        return True
    if package.version in affected.versions or at in map(key, affected.versions):
        return True
    return any(_in_range(at, one, key) for one in ranges)


def _in_range(at: Key, events: Range, key: Callable[[str], Key | None]) -> bool:
    moments: list[tuple[Key, int]] = []
    for event in events.events:
        for order, named in enumerate((event.introduced, event.fixed, event.last_affected)):
            if named is not None:
                when = () if named == "0" else key(named)
                if when is None:
                    return True
                moments.append((when, order))
    inside = False
    for when, order in sorted(moments):
        if order == _INTRODUCED and at >= when:
            inside = True
        elif (order == _FIXED and at >= when) or (order == _LAST and at > when):
            inside = False
    return inside


def _python_key(text: str) -> Key | None:
    try:
        return (Version(text),)
    except InvalidVersion:
        return None


def semantic_key(text: str) -> Key | None:
    """Return what orders a version as https://semver.org/#spec-item-11 does; None when it is none."""
    found = _SEMANTIC.fullmatch(text)
    if found is None:
        return None
    numbers = tuple(int(found[place]) for place in (1, 2, 3))
    if found[4] is None:
        return (*numbers, (1,))
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in found[4].split("."))
    return (*numbers, (0, parts))
