"""Files that people write settings in: YAML, read strictly, so that a mistake is one line that says what to change."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import yaml

from orchestrator_runtimes.codec import InvalidMessage, decode
from orchestrator_runtimes.json_values import Json

T = TypeVar("T")

_LONGEST_BYTES: Final = 4 * 2**20


class BadConfiguration(Exception):
    """A configuration file cannot be used; the text is one line with the file, the place and what to change."""


def read_settings(kind: type[T], file: Path) -> T:
    """Return the dataclass that a file describes.

    Args:
        kind: A frozen dataclass, whose `__post_init__` raises `ValueError` for values that make no sense.
        file: YAML with the attributes of `kind` as keys, and no others.

    Raises:
        BadConfiguration: It cannot be read, or something in it is wrong.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise BadConfiguration(f"{file}: cannot be read: {error.strerror}") from error
    if len(content) > _LONGEST_BYTES:
        raise BadConfiguration(f"{file}: longer than {_LONGEST_BYTES} bytes")
    try:
        return decode(kind, _json(cast("object", yaml.load(content, _Loader)), ""), "", strict=True)
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{file}: {_place(error)}") from error
    except (InvalidMessage, RecursionError) as error:
        raise BadConfiguration(f"{file}: {str(error).removeprefix(': ')}") from error


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows and a reader does not see: a key twice, and aliases, which may grow without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = cast("Any", self).get_mark()  # the stubs do not know it
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not read here: write it out", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused below: it is no text
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r:.80} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}: {problem}" if mark is not None else f"not YAML: {problem}"


def _json(value: object, place: str) -> Json:
    """Return a value of YAML as one of JSON: YAML also has dates, sets and keys that are no text."""
    if isinstance(value, dict):
        mapping = cast("dict[object, object]", value)
        for key in mapping:
            if not isinstance(key, str):
                raise InvalidMessage(f"{place}: the key {key!r:.80} must be text: put it in quotes")
        return {str(key): _json(item, f"{place}.{key}".lstrip(".")) for key, item in mapping.items()}
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_json(item, f"{place}[{number}]") for number, item in enumerate(items)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InvalidMessage(f"{place}: {str(value)!r:.80} is read as a {type(value).__name__}: put it in quotes")
