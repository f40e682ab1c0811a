"""Objects against Kubernetes' own OpenAPI, in the form of the Python client that is generated from it."""
# the client has no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import re
from collections.abc import Iterator
from typing import Any, Final

from kubernetes import client  # type: ignore[import-untyped]

_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (int, str),  # a port by number or by name
    "IntOrString": (int, str),
}


def wrongs(manifest: Any) -> Iterator[str]:
    """Yield what an object has that Kubernetes does not know or that is of another type, and what it lacks."""
    version = manifest["apiVersion"].rpartition("/")[2].capitalize()
    yield from _wrongs(manifest, f"{version}{manifest['kind']}", manifest["kind"])


def _wrongs(value: Any, kind: str, place: str) -> Iterator[str]:
    if found := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for number, one in enumerate(value):
            yield from _wrongs(one, found[1], f"{place}[{number}]")
    elif found := re.fullmatch(r"dict\[str, (.*)\]", kind):
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no mapping"
            return
        for key, one in value.items():
            yield from _wrongs(one, found[1], f"{place}.{key}")
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{place}: {value!r} is no {kind}"
    else:
        yield from _wrong_parts(value, getattr(client, kind), place)


def _wrong_parts(value: Any, model: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no mapping"
        return
    names = {key: attribute for attribute, key in model.attribute_map.items()}
    for key, one in value.items():
        if key not in names:
            yield f"{place}: there is no {key!r}"
        else:
            yield from _wrongs(one, model.openapi_types[names[key]], f"{place}.{key}")
    try:
        model(**{names[key]: one for key, one in value.items() if key in names})
    except ValueError as error:  # what is required and not there, and what is out of bounds
        yield f"{place}: {error}"
