"""YAML of somebody who is not trusted: bounded before it is built, and only text, numbers, lists and mappings.

The bounds are checked on the parser's events, of which there are at most as many as characters; only what passes is
built. Tags, anchors and aliases are refused: tags name types, and a few aliases are a billion values.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from dagster_shared.yaml_utils import parse_yamls_with_source_position
from dagster_shared.yaml_utils.source_position import SourcePositionTree

from orchestrator_tenancy.managed.refusals import NotManaged

FILE_BYTES: Final = 256 * 1024
"""Largest file: Python reads YAML at about 100 KiB a second, and longer instructions are files of the agent's code."""

DEPTH: Final = 24
NODES: Final = 20_000
DOCUMENTS: Final = 100
SCALAR_DIGITS: Final = 100
"""Longest number: a longer one is text that somebody forgot to quote, or an attempt to keep a processor busy."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document of a YAML file.

    Attributes:
        values: What it says.
        positions: Where in the file each value stands.
    """

    values: Mapping[str, Any]
    positions: SourcePositionTree


def read_documents(file: Path, name: str) -> list[Document]:
    """Read the documents of a YAML file.

    Args:
        file: Where it is.
        name: What it is called in errors.

    Raises:
        NotManaged: It is no plain YAML of mappings, or above a bound.
    """
    text = _read(file, name)
    try:
        _check(text, name)
        parsed = parse_yamls_with_source_position(text, filename=str(file))
    except yaml.YAMLError as error:
        raise NotManaged(f"{_place(name, error)}: is no YAML: {_problem(error)}") from error
    except ValueError as error:  # such as a number that Python takes for none
        raise NotManaged(f"{name}: is no plain YAML: {error}") from error
    documents = [one for one in parsed if one.value is not None]
    for one in documents:
        if not isinstance(one.value, dict):
            raise NotManaged(f"{name}: holds a {type(one.value).__name__}; write `type:` and `attributes:`")
    return [Document(values=one.value, positions=one.source_position_tree) for one in documents]


def _read(file: Path, name: str) -> str:
    """Read a regular file, and never more of it than is allowed; who swaps it for a link or a pipe gains nothing."""
    try:
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise NotManaged(f"{name}: cannot be read: {error.strerror}") from error
    with open(number, "rb") as stream:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise NotManaged(f"{name}: is no file")
        content = stream.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise NotManaged(
            f"{name}: is above {FILE_BYTES} bytes: move long texts into files of the agent's code"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NotManaged(f"{name}: is no UTF-8 text") from error


@dataclass
class _Open:
    """A list or mapping that is being read.

    Attributes:
        keys: Of a mapping, so far; None for a list.
        key_next: Whether a mapping's next value is a key.
    """

    keys: set[str] | None
    key_next: bool = True


@dataclass
class _Bounds:
    name: str
    nodes: int = 0
    documents: int = 0
    stack: list[_Open] = field(default_factory=list["_Open"])

    def refuse(self, event: yaml.Event, why: str) -> NotManaged:
        mark: Any = event.start_mark
        return NotManaged(f"{self.name}:{mark.line + 1}: {why}")


def _check(text: str, name: str) -> None:
    bounds = _Bounds(name)
    for event in _events(text):
        if isinstance(event, yaml.DocumentStartEvent):
            bounds.documents += 1
            if bounds.documents > DOCUMENTS:
                raise bounds.refuse(event, f"has more than {DOCUMENTS} documents")
        elif isinstance(event, yaml.AliasEvent):
            raise bounds.refuse(
                event, "has an alias (*name), which managed locations do not take: repeat the value"
            )
        elif isinstance(event, yaml.NodeEvent):
            _check_node(event, bounds)
        elif isinstance(event, yaml.CollectionEndEvent):
            bounds.stack.pop()


def _events(text: str) -> Iterator[yaml.Event]:
    # the parser in Python, as what builds the values is: two parsers may read one text differently
    yield from yaml.parse(text, Loader=yaml.SafeLoader)


def _check_node(event: yaml.NodeEvent, bounds: _Bounds) -> None:
    bounds.nodes += 1
    if bounds.nodes > NODES:
        raise bounds.refuse(event, f"has more than {NODES} values")
    if event.anchor is not None:
        raise bounds.refuse(
            event, "has an anchor (&name), which managed locations do not take: repeat the value"
        )
    tag: str | None = getattr(event, "tag", None)
    if tag is not None:
        raise bounds.refuse(
            event, f"has the tag {tag[:80]!r}, which managed locations do not take: leave it out"
        )
    parent = bounds.stack[-1] if bounds.stack else None
    if parent is not None and parent.keys is not None:
        if parent.key_next:
            _check_key(event, parent.keys, bounds)
        parent.key_next = not parent.key_next
    if isinstance(event, yaml.ScalarEvent):
        if (
            event.style is None
            and len(event.value) > SCALAR_DIGITS
            and event.value.strip("-+.:_0123456789") == ""
        ):
            raise bounds.refuse(event, f"has a number of more than {SCALAR_DIGITS} digits")
        return
    if len(bounds.stack) == DEPTH:
        raise bounds.refuse(event, f"is deeper than {DEPTH} levels")
    bounds.stack.append(_Open(set[str]() if isinstance(event, yaml.MappingStartEvent) else None))


def _check_key(event: yaml.NodeEvent, keys: set[str], bounds: _Bounds) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        raise bounds.refuse(event, "has a list or mapping as a key")
    if event.value == "<<" and event.style is None:
        raise bounds.refuse(
            event, "merges mappings (<<), which managed locations do not take: repeat the values"
        )
    if event.value in keys:
        raise bounds.refuse(event, f"has {event.value[:80]!r} twice")
    keys.add(event.value)


def _place(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return name if mark is None else f"{name}:{mark.line + 1}"


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]
