"""Dagster's web server for many tenants; checked against dagster-webserver 1.13.27.

The pages and GraphQL are stock. What differs: who asks decides what is there (`contexts`), each root field is looked up
in the policy before it is resolved, and routes that read past the instance are ours.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any, Final, cast

from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, GraphQLFormattedError, GraphQLObjectType
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse

from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_tenancy.audit.recording import RECORDER_KEY, Recorder
from orchestrator_tenancy.identities import SCOPE_KEY, Identity
from orchestrator_tenancy.web.asked_mutations import asked_mutations
from orchestrator_tenancy.web.contexts import TenantProcessContext, TenantRequestContext
from orchestrator_tenancy.web.doors import Doors
from orchestrator_tenancy.web.faults import hide_in_events, hide_stacks, is_refusal, told_error
from orchestrator_tenancy.web.lasting_rights import while_they_hold
from orchestrator_tenancy.web.opened_texts import open_texts
from orchestrator_tenancy.web.page_links import with_link
from orchestrator_tenancy.web.policy import MUTATIONS, QUERIES, SUBSCRIPTIONS, may_mutate
from orchestrator_tenancy.web.scopes import NotForTenants

_CHUNK_BYTES: Final = 1 << 20
_KINDS: Final = {"out": ComputeIOType.STDOUT, "err": ComputeIOType.STDERR}

Guard = Callable[[Any, str], None]
"""Raises when whoever has this context may not ask for this root field."""


class TenantWebserver(DagsterWebserver[TenantProcessContext, Any]):
    """The web server.

    Args:
        process_context: Whose locations are whose.
        app_path_prefix: Of all paths; empty, or begins with a slash.
        origins: Origins whose pages are ours, besides that of the request's own host.
        keys: Of the tenants, which open what runs sealed for their people; None opens nothing.
        stock: What `DagsterWebserver` takes besides.
    """

    def __init__(
        self,
        process_context: TenantProcessContext,
        app_path_prefix: str = "",
        origins: Collection[str] = (),
        keys: KeyFile | None = None,
        **stock: Any,
    ) -> None:
        self._origins = tuple(origins)
        self._keys = keys
        super().__init__(process_context, app_path_prefix, **stock)

    def build_graphql_schema(self) -> Any:
        """Return Dagster's schema, each root field of which asks the policy first."""
        schema: Any = super().build_graphql_schema()
        graphql = schema.graphql_schema
        _guard(graphql.query_type, _may_query)
        _guard(graphql.mutation_type, _may_mutate)
        _guard(graphql.subscription_type, _may_subscribe)
        hide_stacks(graphql)
        if self._keys is not None:
            open_texts(graphql, self._keys)
        schema.subscribe = hide_in_events(while_they_hold(schema.subscribe))
        return schema

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[GraphQLFormattedError]:
        """Return errors as they are told: no stack, and no text of what broke."""
        return [told_error(error).formatted for error in errors]

    def _determine_status_code(
        self, resolver_errors: list[GraphQLError] | None, captured_errors: list[Exception]
    ) -> int:
        """Return 200 for refusals, which Dagster's pages show by their text, and 500 where something broke."""
        raised = [error.original_error for error in resolver_errors or ()]
        broke = [*captured_errors, *(error for error in raised if error is not None)]
        if all(is_refusal(error) for error in broke):
            return 400 if None in raised else 200
        return 500

    def build_middleware(self) -> list[Middleware]:
        """Return what every request passes."""
        doors = Middleware(Doors, origins=self._origins, prefix=self._app_path_prefix)
        return [doors, *super().build_middleware()]

    async def graphql_http_endpoint(self, request: Request) -> Any:
        """Answer one operation; several in one request are refused, as stock fails on them."""
        if request.method == "POST":
            try:
                asked: Any = await request.json()
            except ValueError:
                return PlainTextResponse("the body is no JSON", status_code=400)
            if not _is_operation(asked):
                return PlainTextResponse("the body is not one GraphQL operation: {query: …}", status_code=400)
            await _write_down(request, asked_mutations(asked["query"]))
        return await super().graphql_http_endpoint(request)

    def index_html_endpoint(self, request: Request) -> HTMLResponse:
        """Send Dagster's page, with a link to who asks and the way out."""
        page: HTMLResponse = super().index_html_endpoint(request)
        identity: Identity = request.scope[SCOPE_KEY]
        kept = {name: value for name, value in page.headers.items() if name != "content-length"}
        text = with_link(bytes(page.body).decode(), identity, self._app_path_prefix)
        return HTMLResponse(text, headers=kept)

    async def download_captured_logs_endpoint(self, request: Request) -> Any:
        """Send a log of the tenant from whatever keeps logs; an absent one and another's are the same 404."""
        *log_key, kind = request.path_params["path"].split("/")
        with self.request_context(request) as context:
            if not isinstance(context, TenantRequestContext):
                return await super().download_captured_logs_endpoint(request)
            logs: Any = context.instance.compute_log_manager
            if kind not in _KINDS or not logs.owns(log_key):
                raise HTTPException(404, "no such log")
            pieces = _pieces(logs, log_key, _KINDS[kind])
            first = next(pieces, None)
            if first is None:
                raise HTTPException(404, "no such log")
        name = f"{log_key[-1]}.{kind}".replace('"', "")
        return StreamingResponse(
            _chained(first, pieces),
            media_type="text/plain; charset=utf-8",
            headers={
                "content-disposition": f'attachment; filename="{name}"',
                "x-content-type-options": "nosniff",
            },
        )

    async def download_debug_file_endpoint(self, request: Request) -> Any:
        """Send all of one run; an absent one and another's are the same 404."""
        with self.request_context(request) as context:
            if not context.instance.has_run(request.path_params["run_id"]):
                raise HTTPException(404, "no such run")
        return await super().download_debug_file_endpoint(request)

    async def download_notebook(self, request: Request) -> Any:
        """Send a notebook of a location of the tenant; an absent one and another's are the same 404."""
        with self.request_context(request) as context:
            if not context.has_code_location(request.query_params.get("repoLocName", "")):
                raise HTTPException(404, "no such code location")
        return await super().download_notebook(request)

    async def report_asset_materialization_endpoint(self, request: Request) -> JSONResponse:
        """Keep a report on an asset of the tenant."""
        return await _reported(super().report_asset_materialization_endpoint(request))

    async def report_asset_check_endpoint(self, request: Request) -> JSONResponse:
        """Keep a report on a check of the tenant."""
        return await _reported(super().report_asset_check_endpoint(request))

    async def report_asset_observation_endpoint(self, request: Request) -> JSONResponse:
        """Keep a report on an asset of the tenant."""
        return await _reported(super().report_asset_observation_endpoint(request))


async def _write_down(request: Request, mutations: Collection[str]) -> None:
    """Write into the audit log who asks for which mutations, before they are done; where there is one.

    Raises:
        AgentError: `state_unavailable` when it cannot be written down; nothing is done then.
    """
    recorder: Recorder | None = request.scope.get(RECORDER_KEY)
    identity: Identity = request.scope[SCOPE_KEY]
    if recorder is None:
        return
    for mutation in mutations:
        allowed = identity.tenant is None or may_mutate(identity.role, mutation)
        await recorder.record(f"graphql.{mutation}", allowed=allowed)


def _is_operation(asked: Any) -> bool:
    return isinstance(asked, dict) and isinstance(cast(dict[str, Any], asked).get("query"), str)


async def _reported(report: Any) -> JSONResponse:
    try:
        answer: JSONResponse = await report
    except NotForTenants as error:
        return JSONResponse({"error": str(error)}, status_code=401)
    return answer


def _guard(roots: GraphQLObjectType | None, guard: Guard) -> None:
    assert roots is not None
    for name, field in roots.fields.items():
        if field.resolve is not None:
            field.resolve = _guarded(name, field.resolve, guard)
        if field.subscribe is not None:
            field.subscribe = _guarded(name, field.subscribe, guard)


def _guarded(name: str, resolve: Callable[..., Any], guard: Guard) -> Callable[..., Any]:
    def resolved(root: Any, info: Any, **given: Any) -> Any:
        guard(info.context, name)
        return resolve(root, info, **given)

    return resolved


def _may_query(context: Any, name: str) -> None:
    _must(not isinstance(context, TenantRequestContext) or name in QUERIES, name)


def _may_subscribe(context: Any, name: str) -> None:
    _must(not isinstance(context, TenantRequestContext) or name in SUBSCRIPTIONS, name)


def _may_mutate(context: Any, name: str) -> None:
    if not isinstance(context, TenantRequestContext):
        return
    may = may_mutate(context.role, name)
    if not may and may_mutate(context.identity.role, name):
        raise GraphQLError(
            f"{name} is not for you now: the tenant {context.scope.tenant!r} is suspended, or nothing can be changed"
            " here; ask the operator"
        )
    _must(may, name)


def _must(may: bool, name: str) -> None:
    if not may:
        least = MUTATIONS.get(name)
        raise GraphQLError(
            f"{name} is not for you" + (f": it needs the role {least.value!r}" if least else "")
        )


def _pieces(logs: Any, log_key: list[str], kind: ComputeIOType) -> Iterator[bytes]:
    offset = 0
    while True:
        piece, offset = logs.get_log_data_for_type(log_key, kind, offset, _CHUNK_BYTES)
        if not piece:
            return
        yield piece


async def _chained(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    for piece in rest:
        yield piece
