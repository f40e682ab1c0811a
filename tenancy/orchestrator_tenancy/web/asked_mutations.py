"""Which mutations an operation asks for, so that they can be written down before they are done."""

from collections.abc import Iterator, Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
)

_TOKENS = 20_000
"""Of an operation that is looked at: Dagster's own pages send some hundreds."""


def asked_mutations(query: str) -> list[str]:
    """Return the root fields of all mutations of a document, each once, in order; none where it is no GraphQL."""
    try:
        document = parse(query, no_location=True, max_tokens=_TOKENS)
    except GraphQLSyntaxError:
        return []  # nothing of it is done, either
    return list(dict.fromkeys(_of_document(document)))


def _of_document(document: DocumentNode) -> Iterator[str]:
    fragments = {
        one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
    }
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode) and one.operation is OperationType.MUTATION:
            yield from _roots(one.selection_set, fragments, frozenset())


def _roots(
    selected: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], inside: frozenset[str]
) -> Iterator[str]:
    for one in selected.selections:
        if isinstance(one, FieldNode):
            yield one.name.value
        elif isinstance(one, InlineFragmentNode):
            yield from _roots(one.selection_set, fragments, inside)
        elif isinstance(one, FragmentSpreadNode) and one.name.value not in inside:
            name = one.name.value
            if name in fragments:
                yield from _roots(fragments[name].selection_set, fragments, inside | {name})
