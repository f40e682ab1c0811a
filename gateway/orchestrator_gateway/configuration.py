"""The configuration file of a gateway: YAML, read strictly, so that a mistake is one line that says what to change.

A section is a frozen dataclass in the module of its own domain, whose `__post_init__` raises `ValueError` for values
that make no sense; here it is one attribute of `Configuration`. What names something of another section is checked in
`Configuration.__post_init__`. Secrets are `SecretSource`: the file holds none.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml

from orchestrator_gateway.routes import Default, Model, UpstreamSettings
from orchestrator_gateway.secret_sources import SecretSource
from orchestrator_runtimes.codec import InvalidMessage, decode
from orchestrator_runtimes.json_values import Json

_LONGEST_BYTES: Final = 4 * 2**20


class BadConfiguration(Exception):
    """A configuration file cannot be used; the text is one line with the file, the place and what to change."""


@dataclass(frozen=True, kw_only=True)
class JournalSettings:
    """Where answers are kept: exactly one of the two.

    Attributes:
        sqlite: Path of a file, for one gateway or several on one machine; relative to the configuration file.
        postgresql: Where the connection string stands, for gateways on several machines.
    """

    sqlite: str | None = None
    postgresql: SecretSource | None = None

    def __post_init__(self) -> None:
        """Refuse a journal in two places or in none."""
        if (self.sqlite is None) == (self.postgresql is None):
            raise ValueError("a journal is {sqlite: path} or {postgresql: {env: NAME}}, and one of them only")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a gateway is told by its file.

    Attributes:
        secret: Signs the tokens of guests; every gateway and every run that uses them has the same one.
        journal: Where answers are kept.
        upstreams: Model endpoints by name.
        models: Aliases, which agents use as `model:`, by name.
        default: Where calls go whose model is no alias; None refuses them.
        log_bodies: Whether requests and answers are logged, with what looks like a key left out. They hold what users
            wrote, so they are not unless somebody looks for a fault.
    """

    secret: SecretSource
    journal: JournalSettings
    upstreams: Mapping[str, UpstreamSettings]
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    default: Default | None = None
    log_bodies: bool = False

    def __post_init__(self) -> None:
        """Refuse names that nothing has."""
        if not self.upstreams:
            raise ValueError("upstreams: there must be one at least")
        if not self.models and self.default is None:
            raise ValueError("models: there are none and no default either, so every call would be refused")
        named = [
            (f"models.{alias}.{part}[{number}]", target.upstream)
            for alias, model in self.models.items()
            for part, targets in (("targets", model.targets), ("fallbacks", model.fallbacks))
            for number, target in enumerate(targets)
        ]
        if self.default is not None:
            named += [("default", name) for name in (self.default.upstream, *self.default.fallbacks)]
        for place, name in named:
            if name not in self.upstreams:
                there = ", ".join(sorted(self.upstreams))
                raise ValueError(f"{place}: no upstream is named {name!r}; there are {there}")


def load(file: Path) -> Configuration:
    """Return what a configuration file says; secrets are not read.

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
        return decode(Configuration, _json(cast("object", yaml.load(content, _Loader)), ""), "", strict=True)
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
