"""Fields of values that are personal: where they are, what they hold, and values with something else in their place.

A path names a field by the names on the way to it, `customer.email`; lists on the way are passed, each element of them.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from orchestrator_gateway.payloads import SEALED, SEALED_TEXT
from orchestrator_runtimes.json_values import Json, dump

Path: TypeAlias = tuple[str, ...]
Change: TypeAlias = Callable[[Json], Json]

_MARK: Final = SEALED_TEXT + base64.b64encode(SEALED).decode()[: len(SEALED) * 8 // 6]
"""How what was sealed begins; a text that is not may begin with the word."""

SEALED_FORM: Final = rf"{_MARK}[A-Za-z0-9_-]+={{0,2}}"
"""Regular expression of what was sealed, within other text."""

PLACE: Final = ("personal",)
"""Place of sealed fields: of the tenant, as every place is, and not of an asset, since assets hand values on."""

WHOLE: Final = "output"
"""The path of an output as a whole, whatever it is."""

LEAST_CHARACTERS: Final = 4
"""Shorter values are not looked for in others: they stand in nearly every text."""


def read_path(text: str) -> Path:
    """Return the names on the way to a field.

    Raises:
        ValueError: It is none; the text says why.
    """
    names = tuple(text.split("."))
    if not all(name and name == name.strip() and name.isprintable() for name in names):
        raise ValueError(f"{text!r:.80} is no path: names with dots between them, such as customer.email")
    return names


def found_at(value: Json, path: Path) -> Iterator[Json]:
    """Yield what stands at a path; nothing where it leads nowhere."""
    if not path:
        yield value
    elif isinstance(value, list | tuple):
        for element in value:
            yield from found_at(element, path)
    elif isinstance(value, Mapping) and path[0] in value:
        yield from found_at(value[path[0]], path[1:])


def changed_at(value: Json, path: Path, change: Change, *, strictly: bool = False) -> Json:
    """Return a value with what stands at a path changed.

    Args:
        value: Stays as it is.
        path: Empty changes the whole.
        change: From what stands there to what takes its place; null stays null.
        strictly: Whether a text or number on the way, which can have no such field, is changed as a whole.
    """
    if not path:
        return None if value is None else change(value)
    if isinstance(value, list | tuple):
        return [changed_at(element, path, change, strictly=strictly) for element in value]
    if isinstance(value, Mapping):
        return {
            name: changed_at(held, path[1:], change, strictly=strictly) if name == path[0] else held
            for name, held in value.items()
        }
    return change(value) if strictly and value is not None else value


def texts_in(value: Json) -> Iterator[str]:
    """Yield the texts and numbers that a value holds, names of fields not among them."""
    if isinstance(value, Mapping):
        for held in value.values():
            yield from texts_in(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from texts_in(held)
    elif value is not None and not isinstance(value, bool):
        yield value if isinstance(value, str) else dump(value).decode()


def to_look_for(values: Sequence[Json]) -> frozenset[str]:
    """Return what tells that a text repeats one of some values: those that are long enough to be told from others."""
    texts = (text.strip() for value in values for text in texts_in(value))
    return frozenset(text for text in texts if len(text) >= LEAST_CHARACTERS)


def changed_where(value: Json, texts: frozenset[str], change: Change) -> Json:
    """Return a value with each text and number changed that holds one of some texts, and objects whose names do."""
    if not texts:
        return value
    if isinstance(value, Mapping):
        if any(text in name for name in value for text in texts):
            return change(value)
        return {name: changed_where(held, texts, change) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [changed_where(held, texts, change) for held in value]
    held = next(texts_in(value), "")
    return change(value) if not is_sealed(value) and any(text in held for text in texts) else value


def is_sealed(value: Json) -> bool:
    """Return whether a value says that it is sealed."""
    return isinstance(value, str) and value.startswith(_MARK)


def sealed_in(value: Json) -> Iterator[str]:
    """Yield the sealed texts that a value holds."""
    return (text for text in texts_in(value) if is_sealed(text))


def changed_sealed(value: Json, change: Callable[[str], Json]) -> Json:
    """Return a value with each sealed text in it changed."""
    if isinstance(value, Mapping):
        return {name: changed_sealed(held, change) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [changed_sealed(held, change) for held in value]
    return change(value) if isinstance(value, str) and is_sealed(value) else value


def may_have(schema: Json, path: Path) -> bool:
    """Return whether a value of a JSON Schema may have a field at a path; what the schema leaves open it may."""
    return _may_have(schema, schema, path, 0)


_DEPTH: Final = 50


def _may_have(root: Json, schema: Json, path: Path, depth: int) -> bool:
    if not path or depth > _DEPTH or not isinstance(schema, Mapping):
        return True
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _may_have(root, _resolved(root, reference), path, depth + 1)
    choices = schema.get("anyOf")
    if isinstance(choices, list | tuple):
        return any(_may_have(root, choice, path, depth + 1) for choice in choices)
    kinds = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
    kinds = kinds if isinstance(kinds, list | tuple) else [kinds]
    fields = schema.get("properties")
    in_object = (
        isinstance(fields, Mapping)
        and path[0] in fields
        and _may_have(root, fields[path[0]], path[1:], depth + 1)
    )
    other = schema.get("additionalProperties", fields is None)
    open_object = (
        "object" in kinds and other is not False and not (isinstance(fields, Mapping) and path[0] in fields)
    )
    in_list = "array" in kinds and _may_have(root, schema.get("items"), path, depth + 1)
    return in_object or open_object or in_list or None in kinds


def _resolved(root: Json, reference: str) -> Json:
    found = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
