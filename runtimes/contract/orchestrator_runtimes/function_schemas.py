"""A JSON Schema of a Python function's parameters, from its type hints: what a portable tool tells the model."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

_SCALARS: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
    dict: "object",
    list: "array",
}


def parameters_schema(function: Callable[..., object], name: str) -> dict[str, Json]:
    """Return the schema of the parameters of `function`; `name` is how errors call it.

    `Annotated[str, "what it is"]` gives a parameter its description.

    Raises:
        AgentError: `agent_load_failed` when a parameter has no type hint or one that JSON cannot carry.
    """
    try:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:  # the boundary: hints may be text, which is evaluated
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"tool {name!r}: its parameters cannot be read", cause=str(error)
        ) from error
    properties: dict[str, Json] = {}
    required: list[Json] = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED, f"tool {name!r}: {parameter} cannot be called by name"
            )
        if parameter.name not in hints:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"tool {name!r}: parameter {parameter.name!r} has no type hint; write `{parameter.name}: str`",
            )
        properties[parameter.name] = _schema(
            hints[parameter.name], f"tool {name!r}: parameter {parameter.name!r}"
        )
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required}


def _schema(hint: Any, where: str) -> dict[str, Json]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        words = [item for item in arguments[1:] if isinstance(item, str)]
        return {**_schema(arguments[0], where), **({"description": words[0]} if words else {})}
    if isinstance(hint, type) and hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin is Literal and all(isinstance(choice, str | int | bool | None) for choice in arguments):
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(argument, where) for argument in arguments]}
    if origin in (list, Sequence) or (origin is tuple and arguments[1:] == (...,)):
        return {"type": "array", "items": _schema(arguments[0], where)}
    if origin in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1], where)}
    raise AgentError(
        ErrorCode.AGENT_LOAD_FAILED,
        f"{where} has the type {hint!r}, which JSON cannot carry;"
        " use str, int, float, bool, list, dict, Literal or | None",
    )
