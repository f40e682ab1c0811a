"""`python -m benchmarks.tenant_pages`: the runs page of one of many tenants, against stock Dagster with its data alone.

Both sides are asked in one process over a PostgreSQL of the tests, in turns, for what Dagster's runs page asks: 25 runs
with tags, and the counts of its tabs. Of the tenants, one is busy (its runs are among everybody's latest), and one is
idle (all its runs are older than anybody else's), where a plan of the database shows that is fast for the others alone.
"""

import argparse
import contextlib
import json
import tempfile
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import psycopg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._serdes import serialize_value
from dagster_webserver.webserver import DagsterWebserver
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_tenancy.identities import SCOPE_KEY, Identity, Role
from orchestrator_tenancy.web.contexts import TenantProcessContext
from orchestrator_tenancy.web.servers import TenantWebserver
from tests.integration.postgres_servers import PostgresServer, postgres_server
from tests.integration.tenant_directories import Directory

with warnings.catch_warnings():
    # it says to install the successor of httpx, which nothing here needs
    warnings.simplefilter("ignore")
    import starlette.testclient

_CLIENT: Any = starlette.testclient.TestClient
TARGET_RATIO: Final = 1.3
TARGET_MILLISECONDS: Final = 200.0

_PAGE: Final = """
query Page($cursor: String) {
  runsFeedOrError(limit: 25, view: ROOTS, cursor: $cursor) {
    ... on RunsFeedConnection {
      cursor
      hasMore
      results {
        __typename id runStatus creationTime startTime endTime jobName
        tags { key value }
        assetSelection { path }
        ... on Run { hasReExecutePermission hasTerminatePermission repositoryOrigin { repositoryLocationName } }
      }
    }
    ... on PythonError { message }
  }
  queued: runsFeedCountOrError(view: ROOTS, filter: {statuses: [QUEUED]}) { ... on RunsFeedCount { count } }
  running: runsFeedCountOrError(view: ROOTS, filter: {statuses: [STARTED, STARTING]}) { ... on RunsFeedCount { count } }
}"""
_LATER: Final = _PAGE.partition("  queued:")[0] + "}"
_COUNT: Final = "{ runsFeedCountOrError(view: ROOTS) { ... on RunsFeedCount { count } } }"
_TAGS: Final = "{ runTagKeysOrError { ... on RunTagKeys { keys } } }"

_TEMPLATE: Final = DagsterRun(
    job_name="agents",
    run_id="@run@",
    status=DagsterRunStatus.SUCCESS,
    tags={
        "dagster/code_location": "@location@",
        "team": "@location@",
        "model": "small",
        "customer": "c@number@",
    },
)

_FILL: Final = """
INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, update_timestamp, start_time, end_time)
SELECT md5(n::text)::uuid::text, 'agents', 'SUCCESS',
  replace(replace(replace(%(body)s, '@run@', md5(n::text)::uuid::text), '@location@', 'tenant' || {tenant}),
    '@number@', (n %% 50)::text),
  timestamp '2026-01-01' + n * interval '1 second', timestamp '2026-01-01' + n * interval '1 second', n, n + 1
FROM generate_series(0, %(count)s - 1) n ORDER BY n;
INSERT INTO run_tags (run_id, key, value)
SELECT md5(n::text)::uuid::text, tag.key,
  CASE tag.key WHEN 'model' THEN 'small' WHEN 'customer' THEN 'c' || n %% 50 ELSE 'tenant' || {tenant} END
FROM generate_series(0, %(count)s - 1) n,
  (VALUES ('dagster/code_location'), ('team'), ('model'), ('customer')) AS tag(key) ORDER BY n;
ANALYZE runs; ANALYZE run_tags;
"""


def _everybody(names: Sequence[str]) -> Directory:
    """Return a directory of tenants with a location each."""
    return Directory(
        {
            "organisations": {"all": {"title": "All"}},
            "plans": {"team": {}},
            "tenants": {
                name: {"organisation": "all", "plan": "team", "locations": {name: {}}} for name in names
            },
        }
    )


class _As:
    """Somebody of a tenant, signed in."""

    def __init__(self, app: ASGIApp, tenant: str) -> None:
        self._app = app
        self._who = Identity(subject="user:b#1", name="b", role=Role.VIEWER, tenant=tenant, session="1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SCOPE_KEY] = self._who
        await self._app(scope, receive, send)


def _fill(database: str, tenants: int, runs: int) -> None:
    """Give each tenant its runs; those of tenant 0 are the oldest, the others' take turns."""
    busy = max(tenants - 1, 1)
    tenant = f"(CASE WHEN n < {runs} THEN 0 ELSE 1 + n %% {busy} END)" if tenants > 1 else "0"
    text = _FILL.format(tenant=tenant)
    given = {"body": serialize_value(_TEMPLATE), "count": tenants * runs}
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in text.strip().split(";\n"):
            connection.execute(statement.encode(), given)
        connection.execute(b"VACUUM ANALYZE")


@contextlib.contextmanager
def _instance(server: PostgresServer, tenants: int, runs: int) -> Generator[DagsterInstance]:
    database = server.database()
    overrides: Any = {"storage": {"postgres": {"postgres_url": database}}, "telemetry": {"enabled": False}}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        DagsterInstance.local_temp(folder, overrides=overrides) as instance,
    ):
        instance.get_runs_count()  # makes the tables
        instance.optimize_for_webserver(15_000, 3_600, 20)  # as both servers do: connections are kept
        _fill(database, tenants, runs)
        yield instance


def _asked(client: Any, query: str, variables: Mapping[str, Any]) -> tuple[float, Any]:
    """Return the milliseconds of an answer, and it."""
    began = time.perf_counter()
    answer = client.post("/graphql", json={"query": query, "variables": variables})
    took = 1_000 * (time.perf_counter() - began)
    told = answer.json()
    assert answer.status_code == 200 and "errors" not in told, told
    return took, told["data"]


def measure_pages(tenants: int, runs: int, times: int) -> Outcome:
    """Ask both sides for the same pages, in turns."""
    names = [f"tenant{number}" for number in range(tenants)]
    rows = list[dict[str, Cell]]()
    with (
        postgres_server() as server,
        _instance(server, 1, runs) as alone,
        _instance(server, tenants, runs) as shared,
        WorkspaceProcessContext(alone, workspace_load_target=None, version="0") as stock,
        TenantProcessContext(shared, _everybody(names), workspace_load_target=None, version="0") as ours,
    ):
        served: Any = TenantWebserver(ours)
        of_dagster: Any = DagsterWebserver
        stock_server = of_dagster(stock)
        app = served.create_asgi_app()
        sides = {
            "stock, one tenant's data": _CLIENT(stock_server.create_asgi_app()),
            "a busy tenant": _CLIENT(_As(app, names[-1])),
            "an idle tenant": _CLIENT(_As(app, names[0])),
        }
        for page, query in (
            ("first", _PAGE),
            ("later", _LATER),
            ("count of all", _COUNT),
            ("names of tags", _TAGS),
        ):
            took = {side: list[float]() for side in sides}
            cursors = dict.fromkeys(sides)
            for side, client in sides.items():
                _, told = _asked(client, _PAGE, {})
                assert len(told["runsFeedOrError"]["results"]) == 25
                cursors[side] = told["runsFeedOrError"]["cursor"] if page == "later" else None
            for _ in range(times):
                for side, client in sides.items():
                    took[side].append(
                        _asked(client, query, {"cursor": cursors[side]} if page == "later" else {})[0]
                    )
            base = median(next(iter(took.values())))
            rows += [
                {
                    "page": page,
                    "side": side,
                    "p50 ms": median(of),
                    "p95 ms": quantiles(of, n=20)[-1],
                    "p50, to stock": median(of) / base,
                }
                for side, of in took.items()
            ]
    worst = max(float(row["p95 ms"] or 0) for row in rows if row["page"] in {"first", "later"})
    ratio = max(float(row["p50, to stock"] or 0) for row in rows if row["page"] in {"first", "later"})
    return Outcome(
        name="tenant_pages",
        title="The runs page of a tenant",
        how=f"{tenants} tenants with {runs:,} runs each in PostgreSQL; {times} times each side, in turns.",
        rows=rows,
        findings=(
            f"at most {ratio:.2f} times stock at p50; target {TARGET_RATIO}",
            f"at most {worst:.0f} ms at p95; target {TARGET_MILLISECONDS:.0f}",
        ),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100)
    given = parser.parse_args()
    outcome = measure_pages(given.tenants, given.runs, given.times)
    print(markdown(outcome))
    print(json.dumps(describe_machine()))
    Path("var").mkdir(exist_ok=True)
    Path("var/tenant_pages.md").write_text(markdown(outcome))


if __name__ == "__main__":
    main()
