"""What a caller is told when GraphQL fails: what was refused and why, and of everything else an id in the log.

Stock Dagster answers with the server's own stack, and with the text of any exception: of a database, that is a
statement with its values. Checked against Dagster 1.13.27: a `PythonError` is made in the package of the resolvers for
what failed there, and elsewhere for what failed in a run, a tick or a code location. The latter is the tenant's own.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, cast

import dagster_graphql
from dagster import DagsterError
from dagster._core import errors as errors_of_dagster
from dagster_graphql.implementation.utils import UserFacingGraphQLError
from dagster_graphql.schema.errors import GraphenePythonError
from dagster_shared.error import SerializableErrorInfo
from graphql import ExecutionResult, GraphQLError, GraphQLSchema
from yaml import MarkedYAMLError, parser, scanner

from orchestrator_tenancy.checked_locations import LocationRefused
from orchestrator_tenancy.custom_locations import ForeignNames
from orchestrator_tenancy.web.scopes import NotForTenants

LOG: Final = logging.getLogger(__name__)

_FOR_PEOPLE: Final = (
    GraphQLError,
    NotForTenants,
    UserFacingGraphQLError,
    DagsterError,
    LocationRefused,
    ForeignNames,
)
"""Exceptions whose text is written for whoever asked; so is that of a bare `Exception`, which Dagster raises itself."""

_REFUSALS: Final = (GraphQLError, NotForTenants, UserFacingGraphQLError)
_MODULES: Final = (errors_of_dagster, scanner, parser)
_NAMES_FOR_PEOPLE: Final = frozenset(
    kind.__name__
    for kind in (*_FOR_PEOPLE, *(kind for module in _MODULES for kind in vars(module).values()))
    if isinstance(kind, type) and issubclass(kind, (*_FOR_PEOPLE, MarkedYAMLError))
)
"""The same by their names, and those of a configuration that is no YAML."""
_RESOLVERS: Final = tuple(
    f'  File "{Path(dagster_graphql.__file__).parent / folder}/' for folder in ("implementation", "schema")
)


def is_refusal(error: BaseException) -> bool:
    """Return whether nothing is broken: what was asked for is not for whoever asked."""
    return isinstance(error, _REFUSALS)


def told_error(error: GraphQLError) -> GraphQLError:
    """Return an error as it may be told: with its place in the operation, without what raised it."""
    cause = error.original_error
    if cause is None:
        message = error.message
    elif isinstance(cause, _FOR_PEOPLE) or type(cause) is Exception:
        message = str(cause) or error.message
    else:
        message = _unknown(_logged(f"{error.path}", cause))
    return GraphQLError(
        message, nodes=error.nodes, source=error.source, positions=error.positions, path=error.path
    )


def hide_stacks(schema: GraphQLSchema) -> None:
    """Let `PythonError` tell nothing of this process."""
    fields = cast(Any, schema.type_map["PythonError"]).fields
    for field in fields.values():
        field.resolve = _of_told(field.resolve)


def hide_in_events(subscribe: Callable[..., Any]) -> Callable[..., Any]:
    """Return what subscribes as `subscribe` does, with errors in its answers as they may be told."""

    async def subscribed(*given: Any, **named: Any) -> Any:
        answers = await subscribe(*given, **named)
        return answers if isinstance(answers, ExecutionResult) else _events(answers)

    return subscribed


async def _events(answers: AsyncIterator[ExecutionResult]) -> AsyncIterator[ExecutionResult]:
    try:
        async for answer in answers:
            errors = [told_error(error) for error in answer.errors or ()]
            yield ExecutionResult(answer.data, errors or None, answer.extensions)
    except Exception as error:  # of whatever reads the storages: it goes to the caller otherwise
        raise told_error(GraphQLError("", original_error=error)) from None


def _of_told(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def resolved(error: Any, info: Any, **given: Any) -> Any:
        return resolve(_told(error), info, **given)

    return resolved


def _told(error: Any) -> Any:
    """Return a `PythonError` as it may be told; the same one each time."""
    info = error._error_info
    if not (info.stack and info.stack[0].startswith(_RESOLVERS)):
        return error
    told = getattr(error, _TOLD, None)
    if told is None:
        name = _logged("a resolver", info.to_string())
        known = info.cls_name in {"Exception", *_NAMES_FOR_PEOPLE}
        message = f"{info.message.strip()}\n(in the log of the server: {name})\n" if known else _unknown(name)
        made: Any = GraphenePythonError
        told = made(
            SerializableErrorInfo(message=message, stack=[], cls_name=info.cls_name if known else None)
        )
        setattr(error, _TOLD, told)
    return told


_TOLD: Final = "_told_by_orchestrator"


def _unknown(name: str) -> str:
    return f"the server failed; its operator finds why in its log, as {name}"


def _logged(where: str, error: BaseException | str) -> str:
    """Write an error into the log and return its id."""
    name = f"fault-{secrets.token_hex(6)}"
    if isinstance(error, str):
        LOG.error("%s: %s failed: %s", name, where, error)
    else:
        LOG.error("%s: %s failed", name, where, exc_info=error)
    return name
