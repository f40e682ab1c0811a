"""From an asset's inputs to executions: one, or one for each item, each with an id that a retry finds again."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator_assets.execution_specs import ExecutionSpec
from orchestrator_assets.personal_values import FieldRefused, PersonalValues
from orchestrator_resources.execution_batches import Item
from orchestrator_resources.personal_fields import is_sealed
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse


def make_items(
    spec: ExecutionSpec,
    *,
    scope: str,
    upstream: Mapping[str, Any],
    overrides: Mapping[str, Any],
    partition_key: str | None,
    owner: str,
    personal: PersonalValues,
) -> list[Item]:
    """Return the executions of one step.

    Args:
        spec: The agent.
        scope: What a retry of the step has in common with its first try: run, asset, partition and agent.
        upstream: Values of upstream assets, by name of input.
        overrides: Inputs from the run's config; they win.
        partition_key: None when the step has no partition.
        owner: The asset; sessions are its own.
        personal: Opens marked fields.

    Raises:
        AgentError: `invalid_input` when the config names an input that the agent does not have or gives a marked field
            in the clear, a value is no JSON, items are no list or table, or two items have one key;
            `state_unavailable` when a marked field does not open.
    """
    if unknown := sorted(set(overrides) - set(spec.inputs)):
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the run's config gives the input {unknown[0]!r}; the asset has {', '.join(spec.inputs) or 'none'}",
        )
    for name, value in overrides.items():
        personal.refuse_in_clear(name, as_json(value, name))
    inputs = {**_inputs(spec, upstream, partition_key), **overrides}
    each = None if spec.for_each is None else spec.for_each.input
    read = {name: personal.read(name, as_json(value, name)) for name, value in inputs.items() if name != each}
    rest = {name: value for name, (value, _) in read.items()}
    held = frozenset[str]().union(*(texts for _, texts in read.values()))
    if spec.for_each is None:
        scope = personal.scope(scope)
        return [_item(spec, scope, "", 0, rest, partition_key, owner, held)]
    found = as_items(inputs[spec.for_each.input], spec.for_each.input)
    keys = [_key(spec.for_each.key, index, item) for index, item in enumerate(found)]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"for_each: two items have the key {twice!r}; choose a field that names each",
        )
    items = [personal.read(spec.for_each.input, item) for item in found]
    scope = personal.scope(scope)
    return [
        _item(
            spec, scope, key, index, {**rest, spec.for_each.input: item}, partition_key, owner, held | texts
        )
        for index, (key, (item, texts)) in enumerate(zip(keys, items, strict=True))
    ]


def _inputs(spec: ExecutionSpec, upstream: Mapping[str, Any], partition_key: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, source in spec.inputs.items():
        if source.asset is not None:
            found[name] = upstream[name]
        elif source.partition_key:
            if partition_key is None:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    f"input {name!r} is the partition key, but this run has no partition",
                )
            found[name] = partition_key
        else:
            found[name] = source.value
    return found


def _item(
    spec: ExecutionSpec,
    scope: str,
    key: str,
    index: int,
    inputs: Mapping[str, Json],
    partition_key: str | None,
    owner: str,
    personal: frozenset[str],
) -> Item:
    value: Json = inputs if spec.prompt is None else fill(spec.prompt, inputs)
    identity = dump([scope, key, index if spec.for_each and spec.for_each.key is None else 0, value])
    execution = hashlib.sha256(identity).hexdigest()[:32]
    session = None
    if spec.session is not None:
        names = {"partition_key": partition_key or "", "key": key, "execution": execution}
        session = f"{owner}:{spec.session.format(**names)}"
    return Item(
        key=key or "the execution", execution=execution, inputs=value, session=session, personal=personal
    )


def fill(prompt: str, inputs: Mapping[str, Json]) -> str:
    """Return a prompt with its inputs filled in.

    Raises:
        AgentError: `invalid_input` when it names an input, or a part of one, that is not there.
    """
    try:
        return prompt.format_map(inputs)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the prompt {prompt!r:.120} cannot be filled in from the inputs {sorted(inputs)};"
            " write {{ and }} for braces",
            cause=f"{type(error).__name__}: {error}",
        ) from error


def _key(field: str | None, index: int, item: Json) -> str:
    if field is None:
        return str(index)
    value = item.get(field) if isinstance(item, Mapping) else None
    if value is None:
        raise AgentError(
            ErrorCode.INVALID_INPUT, f"for_each: item {index} has no field {field!r} to be named by"
        )
    if is_sealed(value):
        raise FieldRefused(
            ErrorCode.INVALID_INPUT,
            f"for_each: the field {field!r} is personal, and names of rows stand in the clear; choose another key",
        )
    return str(value)


def as_items(value: Any, name: str) -> list[Json]:
    """Return the items of a list, the rows of a table (pandas, polars or arrow), or a mapping's values.

    Raises:
        AgentError: `invalid_input` when it is none of these, or an item is no JSON.
    """
    items: Any = value
    for method in ("to_dicts", "to_pylist"):
        if hasattr(value, method):
            items = getattr(value, method)()
            break
    else:
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            items = value.to_dict("records")
        elif _is_a(value, Mapping):
            items = list(value.values())
    if _is_a(items, str, bytes) or not _is_a(items, Sequence):
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"for_each: the input {name!r} is a {type(value).__name__}, not a list or a table",
        )
    return [as_json(item, f"{name}[{index}]") for index, item in enumerate(items)]


def _is_a(value: object, *kinds: type) -> bool:
    """Tell without narrowing: an item of a foreign list has no type that is known here."""
    return isinstance(value, kinds)


def as_json(value: Any, name: str) -> Json:
    """Return a value as plain JSON.

    Raises:
        AgentError: `invalid_input`, naming the input.
    """
    try:
        return parse(dump(value))
    except NotJson as error:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the input {name!r} is a {type(value).__name__} that is not JSON; let its asset return text, numbers,"
            " lists and objects",
            cause=str(error),
        ) from error
