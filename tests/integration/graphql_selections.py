"""GraphQL operations that ask for all that a root field leads to."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from graphql import (
    GraphQLAbstractType,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_interface_type,
    is_object_type,
    is_required_argument,
    is_union_type,
)

_TIMES: Final = 1
"""So often each type is opened in one operation, the nearest to the root first."""


def operation(
    schema: GraphQLSchema,
    kind: str,
    name: str,
    given: Mapping[str, str],
    nested: Mapping[str, str],
    without: Collection[str] = (),
    deep: int = 2,
) -> str:
    """Return an operation that asks for every field of every type that a root field leads to.

    Args:
        schema: Dagster's.
        kind: `query`, `mutation` or `subscription`.
        name: Of the root field.
        given: GraphQL text of the root field's arguments.
        nested: GraphQL text of arguments of fields below, by `Type.field(argument)` or by `argument`; a field with a
            required argument that is not here fails the test.
        without: Fields, `Type_field`, that are left out.
        deep: So many fields below the root's is the last one.
    """
    root = {
        "query": schema.query_type,
        "mutation": schema.mutation_type,
        "subscription": schema.subscription_type,
    }[kind]
    assert root is not None
    field = root.fields[name]
    opened = _opened(schema, cast(GraphQLNamedType, get_named_type(field.type)), nested, without, deep)
    return f"{kind} {{ {name}{_arguments(given)} {opened} }}"


def reachable(schema: GraphQLSchema, without: Collection[str] = ()) -> dict[str, GraphQLNamedType]:
    """Return all types that answers may hold, by name.

    Args:
        schema: Dagster's.
        without: Fields, `Type_field`, that nobody asks for.
    """
    waiting: list[Any] = [schema.query_type, schema.mutation_type, schema.subscription_type]
    found = dict[str, GraphQLNamedType]()
    while waiting:
        named = waiting.pop()
        if named.name in found:
            continue
        found[named.name] = named
        if is_union_type(named) or is_interface_type(named):
            waiting += schema.get_possible_types(cast(GraphQLAbstractType, named))
        elif isinstance(named, GraphQLObjectType):
            asked = [field for name, field in named.fields.items() if f"{named.name}_{name}" not in without]
            waiting += [get_named_type(field.type) for field in asked]
    return found


class _Node:
    """A type at one place of an operation."""

    def __init__(self, named: GraphQLNamedType) -> None:
        self.named = named
        self.parts = list[tuple[str, "_Node | None"]]()


def _opened(
    schema: GraphQLSchema,
    named: GraphQLNamedType,
    nested: Mapping[str, str],
    without: Collection[str],
    deep: int,
) -> str:
    """Return a selection of all that a type leads to, breadth first."""
    times = dict[str, int]()
    root = _Node(named)
    waiting = deque([(root, 0)])
    while waiting:
        node, depth = waiting.popleft()
        if is_union_type(node.named) or is_interface_type(node.named):
            for possible in schema.get_possible_types(cast(GraphQLAbstractType, node.named)):
                child = _Node(possible)
                node.parts.append((f"... on {possible.name}", child))
                waiting.append((child, depth))
        elif isinstance(node.named, GraphQLObjectType):
            if times.get(node.named.name, 0) >= _TIMES:
                continue
            times[node.named.name] = times.get(node.named.name, 0) + 1
            for name, field in node.named.fields.items():
                if f"{node.named.name}_{name}" in without:
                    continue
                leads = cast(GraphQLNamedType, get_named_type(field.type))
                asked = f"{node.named.name}_{name}: {name}{_needed(node.named.name, name, field, nested)}"
                below = _Node(leads) if hasattr(leads, "fields") or is_union_type(leads) else None
                if below is not None and depth == deep:
                    continue
                node.parts.append((asked, below))
                if below is not None:
                    waiting.append((below, depth + 1))
    return _written(root)


def _written(node: _Node) -> str:
    if not is_object_type(node.named) and not is_union_type(node.named) and not is_interface_type(node.named):
        return ""
    parts = [text if child is None else f"{text} {_written(child)}" for text, child in node.parts]
    return "{ __typename " + " ".join(parts) + " }"


def _needed(owner: str, name: str, field: GraphQLField, nested: Mapping[str, str]) -> str:
    given = dict[str, str]()
    for argument, how in field.args.items():
        value = nested.get(
            f"{owner}.{name}({argument})", nested.get(argument) if is_required_argument(how) else None
        )
        if value is None:
            assert not is_required_argument(how), f"no value for {owner}.{name}({argument})"
            continue
        given[argument] = value
    return _arguments(given)


def _arguments(given: Mapping[str, str]) -> str:
    return f"({', '.join(f'{name}: {value}' for name, value in given.items())})" if given else ""
