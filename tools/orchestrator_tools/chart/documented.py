"""Models whose attributes are described where they are defined: in the section `Attributes` of their docstring."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

_ATTRIBUTE: Final = re.compile(r"^(\w+): (.*)$")
_NONE: Final = re.compile(r"\bNone\b")
"""As YAML has it: null."""


class NotDescribed(Exception):
    """An attribute is described nowhere; the text names it."""


class ChartValues(BaseModel):
    """Part of the chart's values: keys are written in camel case, and others are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)


def described(kind: type) -> Mapping[str, str]:
    """Return what each attribute of a class is, by its name in Python, as one line.

    Args:
        kind: A pydantic model or a dataclass. Its docstring and those of the classes that it is made of have a section
            `Attributes`, where there are any.

    Raises:
        NotDescribed: It has an attribute that no section has, or the other way round.
    """
    found = dict[str, str]()
    for one in reversed(kind.__mro__):
        if one is not BaseModel:
            found |= _section(inspect.cleandoc(vars(one).get("__doc__") or ""))
    there = _attributes(kind)
    if missing := there - found.keys():
        raise NotDescribed(f"{kind.__name__}.{min(missing)}: its docstring does not say what it is")
    if left := found.keys() - there:
        raise NotDescribed(f"{kind.__name__}: its docstring describes {min(left)!r}, which it does not have")
    return {name: _NONE.sub("null", text) for name, text in found.items()}


def summary(kind: type) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _section(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("\nAttributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + section.partition("\n\n")[0]).splitlines():
        if begun := _ATTRIBUTE.match(line):
            name = begun[1]
            found[name] = begun[2]
        else:
            found[name] += f" {line.strip()}"
    return found


def _attributes(kind: type[Any]) -> set[str]:
    if issubclass(kind, BaseModel):
        return set(kind.model_fields)
    return {field.name for field in dataclasses.fields(kind)}
