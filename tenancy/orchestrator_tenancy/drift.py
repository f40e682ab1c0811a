"""What is different on a cluster from what a release said: pure functions of manifests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from kubernetes.utils.quantity import parse_quantity  # type: ignore[import-untyped]

_IDENTITY: Final = ("name", "containerPort", "port", "key", "mountPath", "ip")
"""By which the elements of a list are told apart, where all of them have it."""


Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A part of an object that is not as it was made.

    Attributes:
        what: Kind, namespace and name of the object.
        where: Path of the part; empty for the whole object.
        wanted: As it was made.
        found: As it is; None where it is not there.
    """

    what: str
    where: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        """Say it in a line."""
        if not self.where:
            return f"{self.what}: is not there"
        return f"{self.what}: {self.where} is {_short(self.found)}, not {_short(self.wanted)}"


def identity(manifest: Mapping[str, Any]) -> str:
    """Return kind, namespace and name of an object, as people read it."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{manifest['kind']} {f'{namespace}/' if namespace else ''}{metadata['name']}"


def drift(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> list[Drift]:
    """Return how an object differs from what was made; what others added to it is no difference.

    Args:
        wanted: Its manifest.
        found: As the API server tells it, in JSON; None where it is not there.
    """
    what = identity(wanted)
    if found is None:
        return [Drift(what=what, where="", wanted=dict(wanted), found=None)]
    parts = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "status")}
    return [
        Drift(what=what, where=where, wanted=value, found=other)
        for where, value, other in _differences("", parts, found)
    ]


def _differences(where: str, wanted: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        there = cast("Manifest", found)
        for key, value in cast("Manifest", wanted).items():
            yield from _differences(f"{where}.{key}" if where else key, value, there.get(key))
    elif isinstance(wanted, list) and isinstance(found, list):
        yield from _differences_of_lists(where, cast("list[object]", wanted), cast("list[object]", found))
    elif not _same(wanted, found):
        yield where, wanted, found


def _differences_of_lists(
    where: str, wanted: list[object], found: list[object]
) -> Iterator[tuple[str, Any, Any]]:
    named = next((key for key in _IDENTITY if _tells_apart(key, wanted) and _tells_apart(key, found)), None)
    if named is None:
        if len(wanted) != len(found):
            yield where, wanted, found
            return
        pairs: Sequence[tuple[Any, Any, Any]] = [
            (number, *pair) for number, pair in enumerate(zip(wanted, found, strict=True))
        ]
    else:
        there = {_named(named, one): one for one in found}
        pairs = [(name, one, there.get(name)) for one in wanted for name in [_named(named, one)]]
    for name, one, other in pairs:
        yield from _differences(f"{where}[{name}]", one, other)


def _tells_apart(key: str, elements: list[object]) -> bool:
    names = [_named(key, one) for one in elements]
    return None not in names and len(set(names)) == len(names)


def _named(key: str, element: object) -> str | None:
    if not isinstance(element, dict):
        return None
    parts = cast("Manifest", element)
    return str(parts[key]) if key in parts else None


def _same(wanted: Any, found: Any) -> bool:
    if wanted == found or (not wanted and not found):  # what is empty is left out by the API server
        return True
    if isinstance(wanted, str | int | float) and isinstance(found, str | int | float):
        return _quantity(wanted) is not None and _quantity(wanted) == _quantity(found)
    return False


def _quantity(told: str | float) -> Any:
    try:
        return parse_quantity(told)
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
