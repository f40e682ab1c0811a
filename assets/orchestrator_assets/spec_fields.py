"""Kinds of fields in the YAML of agent assets, as Dagster, `dg check yaml` and people are told of them."""

from typing import Annotated, Any

import dagster as dg
from pydantic import AfterValidator


class WrongValue(ValueError):
    """A value that could only fail later.

    Attributes:
        path: Where it stands below the attributes, such as `("for_each", "input")`.
    """

    def __init__(self, message: str, *path: str | int) -> None:
        """Say what is wrong, and what to change."""
        super().__init__(message)
        self.path = path


def plain(kind: Any, *types: str, **schema: Any) -> dg.Resolver:
    """Make `dg check yaml` check a value: a field of any other type than text may else be a template."""
    told = types[0] if len(types) == 1 else list(types)
    extra = {"anyOf": [{"type": told, **schema}]} if types else schema
    resolver: dg.Resolver = dg.Resolver.default(model_field_type=kind, json_schema_extra=extra)
    return resolver


def bounded(
    name: str, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> AfterValidator:
    """Refuse numbers out of bounds, and text: Dagster's models let text through where a number is meant."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str | bool):
            raise WrongValue(f"must be {name}, got {value!r}")
        low = (above is not None and value <= above) or (least is not None and value < least)
        if low or (most is not None and value > most):
            raise WrongValue(f"must be {name}, got {value}")
        return value

    return AfterValidator(check)


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise WrongValue(f"must be true or false, got {value!r}")
    return value


PositiveInt = Annotated[
    int, plain(int, "integer", exclusiveMinimum=0), bounded("a whole number above 0", above=0)
]
PositiveFloat = Annotated[
    float, plain(float, "number", exclusiveMinimum=0), bounded("a number above 0", above=0)
]
OptionalPositiveInt = Annotated[
    int | None,
    plain(int | None, "integer", "null", exclusiveMinimum=0),
    bounded("a whole number above 0", above=0),
]
OptionalPositiveFloat = Annotated[
    float | None,
    plain(float | None, "number", "null", exclusiveMinimum=0),
    bounded("a number above 0", above=0),
]
Flag = Annotated[bool, plain(bool, "boolean"), AfterValidator(_flag)]
OptionalText = Annotated[str | None, plain(str | None, "string", "null")]
