"""YAML that people write, read strictly: what a reader would not see is refused, and so is what grows without end."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import yaml

from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode
from orchestrator_runtimes.json_values import NotJson, dump, parse

T = TypeVar("T")

LONGEST_BYTES: Final = 1 * 2**20


def read_yaml(kind: type[T], file: Path) -> T:
    """Return the dataclass that a file describes; see `parse_yaml`.

    Raises:
        BundleRefused: `oversized` or `malformed`; the text begins with the file.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST_BYTES + 1)
    except OSError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: cannot be read: {error.strerror}") from error
    return parse_yaml(kind, content, str(file))


def parse_yaml(kind: type[T], content: bytes, where: str) -> T:
    """Return the dataclass that YAML describes: its attributes as keys and no others, without aliases, tags or repeats.

    Args:
        kind: A frozen dataclass, whose `__post_init__` raises `ValueError` for values that make no sense.
        content: As it was read.
        where: Its file, which texts of errors begin with.

    Raises:
        BundleRefused: `oversized` or `malformed`, with the line or the key.
    """
    if len(content) > LONGEST_BYTES:
        raise BundleRefused(Refusal.OVERSIZED, f"{where}: longer than {LONGEST_BYTES} bytes")
    try:
        return decode(kind, parse(dump(yaml.load(content, _Loader))), "", strict=True)
    except yaml.YAMLError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{where}: {_place(error)}") from error
    except NotJson as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"{where}: {error}: write text, numbers, lists; dates in quotes"
        ) from error
    except (InvalidMessage, RecursionError, ValueError) as error:  # also of dates and numbers that are none
        said = str(error).removeprefix(": ")
        raise BundleRefused(Refusal.MALFORMED, f"{where}: {said}") from error


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = cast("Any", self).get_mark()  # the stubs do not know it
            raise yaml.MarkedYAMLError(problem="aliases are not read here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                raise yaml.MarkedYAMLError(problem="keys must be text", problem_mark=key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value!r:.80} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _place(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    said = problem or " ".join(str(error).split())
    return f"line {mark.line + 1}: {said}" if mark is not None else f"not YAML: {said}"
