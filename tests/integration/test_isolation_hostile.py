"""Ways around: no sign-in, other methods, other sites, websockets, many names at once, paths."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.websockets import WebSocketDisconnect

from orchestrator_tenancy.web import policy
from tests.integration.isolation_counts import Counts
from tests.integration.tenant_plants import Plants
from tests.integration.tenant_rows import changed, rows_about
from tests.integration.tenant_web import JSON, TENANTS, WHO, Web

# Dagster warns of much, such as the location that lies about whose its assets are; its server goes on
pytestmark = pytest.mark.filterwarnings("ignore")

Tenants = tuple[Web, Plants, Plants]

_RUN = "query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run { tags { value } } } }"
_LOGS = "query ($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr } }"
_TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
_POOLS = """instance {
  concurrencyLimits { concurrencyKey }
  concurrencyLimit(concurrencyKey: "alpha__pool") { pendingSteps { stepKey } }
}"""
_RUNS = "{ runsOrError { ... on Runs { results { runId tags { value } } count } } }"


@pytest.mark.parametrize(
    "path", ["/", "/graphql", "/server_info", "/favicon.png", "/logs/a/b/out", "/download_debug/a"]
)
def test_nobody_gets_anything_without_a_sign_in(path: str, two_tenants: Tenants) -> None:
    web, _, _ = two_tenants
    assert web.get("", path).status_code == 401
    assert web.client.post(path, content="{}", headers=JSON).status_code == 401


def test_a_websocket_without_a_sign_in_is_not_accepted(two_tenants: Tenants) -> None:
    web, _, _ = two_tenants
    with pytest.raises(WebSocketDisconnect), web.websocket(""):
        pass


def test_who_is_of_a_tenant_that_is_gone_gets_nothing(two_tenants: Tenants) -> None:
    web, _, _ = two_tenants
    assert web.post("omega/tenant-admin", _RUNS).status_code == 403


def test_who_is_of_a_suspended_tenant_sees_and_starts_nothing(two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    web.directory.change(alpha={**TENANTS["tenants"]["alpha"], "suspended": True})
    try:
        assert alpha.run in web.post("alpha/tenant-admin", _RUNS).text
        told = web.post("alpha/tenant-admin", _TERMINATE, {"id": alpha.run})
    finally:
        web.directory.change()
    assert "terminateRun is not for you now: the tenant 'alpha' is suspended" in told.text


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_graphql_is_asked_by_post_alone(method: str, two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    query = f'mutation {{ terminateRun(runId: "{alpha.run}") {{ __typename }} }}'
    told = web.client.request(method, "/graphql", params={"query": query}, headers={WHO: "alpha/editor"})
    assert told.status_code == 405


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/graphql"],
)
def test_graphql_is_asked_with_json_alone(content_type: str, two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    query = f'mutation {{ terminateRun(runId: "{alpha.run}") {{ __typename }} }}'
    for path in ("/graphql", "/report_asset_materialization/alpha/orders"):
        told = web.client.post(
            path,
            params={"query": query},
            content=json.dumps({"query": query}),
            headers={WHO: "alpha/editor", "content-type": content_type},
        )
        assert told.status_code == 415


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '[{"query": "{ version }"}]', '{"query": ["{ version }"]}', '"{}"']
)
def test_several_operations_or_none_are_refused(body: str, two_tenants: Tenants) -> None:
    web, _, _ = two_tenants
    told = web.client.post("/graphql", content=body, headers={**JSON, WHO: "alpha/editor"})
    assert told.status_code == 400


def test_pages_of_other_sites_are_refused(two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    body = json.dumps({"query": _TERMINATE, "variables": {"id": alpha.run}})
    for origin in ("http://evil.test", "http://web.test.evil.test", "null", "http://web.test:81"):
        headers = {**JSON, WHO: "alpha/editor", "origin": origin}
        assert web.client.post("/graphql", content=body, headers=headers).status_code == 403
        with pytest.raises(WebSocketDisconnect), web.websocket("alpha/editor", origin=origin):
            pass
    own = {**JSON, WHO: "alpha/viewer", "origin": "http://web.test"}
    assert (
        web.client.post("/graphql", content=json.dumps({"query": "{ version }"}), headers=own).status_code
        == 200
    )


def test_a_websocket_takes_subscriptions_alone(two_tenants: Tenants, counts: Counts) -> None:
    web, alpha, beta = two_tenants
    before = rows_about(web.database, alpha, beta)
    with web.websocket("alpha/editor") as socket:
        for query in (
            f'mutation {{ terminateRun(runId: "{alpha.run}") {{ __typename }} }}',
            f'{{ runOrError(runId: "{alpha.run}") {{ __typename ... on Run {{ tags {{ value }} }} }} }}',
            f'subscription {{ terminateRun(runId: "{alpha.run}") {{ __typename }} }}',
        ):
            socket.send_json({"type": "start", "id": query[:9], "payload": {"query": query}})
            told = socket.receive_json()
            assert told["type"] == "error" and alpha.secret not in json.dumps(told)
    foreign = changed(before, rows_about(web.database, alpha, beta))
    counts.reached("writes", len(foreign))
    assert not foreign


def test_many_names_in_one_operation_reach_nothing(two_tenants: Tenants, counts: Counts) -> None:
    web, alpha, beta = two_tenants
    guesses = [
        alpha.run,
        alpha.assets_run,
        beta.run,
        alpha.run.upper(),
        f" {alpha.run}",
        "%",
        "*",
    ]
    fields = " ".join(
        f'r{number}: runOrError(runId: "{guess}") {{ ...it }}' for number, guess in enumerate(guesses)
    )
    both = "fragment it on RunOrError { ... on Run { runId tags { value } parentPipelineSnapshotId } }"
    told = web.post(
        "beta/viewer", f"query Q {{ ...all }} fragment all on Query {{ {fields} {_POOLS} }} {both}"
    ).text
    counts.reached("reads", told.count(alpha.secret))
    assert alpha.secret not in told and beta.secret in told


def test_paths_of_logs_do_not_lead_to_another_tenants(two_tenants: Tenants, counts: Counts) -> None:
    web, alpha, beta = two_tenants
    for key in (
        [beta.run, "..", alpha.run, "compute_logs", "step"],
        [f"{beta.run}/../{alpha.run}", "compute_logs", "step"],
        [beta.run, f"../{alpha.run}/compute_logs", "step"],
        ["", alpha.run, "compute_logs", "step"],
        [".", alpha.run, "compute_logs", "step"],
        ["backfill", beta.backfill, "..", alpha.backfill, "1"],
        ["backfill", f"{beta.backfill}/../{alpha.backfill}", "1"],
        [*alpha.tick_log[:2], str(beta.tick)],
        [*beta.tick_log[:2], str(alpha.tick)],
        [],
    ):
        told = web.post("beta/viewer", _LOGS, {"key": key}).text
        raw = web.get("beta/viewer", f"/logs/{'/'.join(key)}/out").text
        encoded = web.get(
            "beta/viewer", "/logs/" + "%2F".join(part.replace("/", "%2F") for part in key) + "/out"
        ).text
        counts.reached("reads", (told + raw + encoded).count(alpha.secret))
        assert alpha.secret not in told + raw + encoded


def test_a_root_that_nobody_classified_is_refused(
    two_tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, alpha, _ = two_tenants
    for table, name in ((policy.QUERIES, "runOrError"), (policy.MUTATIONS, "terminateRun")):
        monkeypatch.delitem(table, name)
    assert "runOrError is not for you" in web.post("alpha/tenant-admin", _RUN, {"id": alpha.run}).text
    assert "terminateRun is not for you" in web.post("alpha/tenant-admin", _TERMINATE, {"id": alpha.run}).text
    assert alpha.secret in web.post("/operator", _RUN, {"id": alpha.run}).text


def test_requests_at_once_do_not_mix(two_tenants: Tenants) -> None:
    web, alpha, beta = two_tenants
    with ThreadPoolExecutor(8) as pool:
        asked = [
            (of, pool.submit(web.post, f"{of.tenant}/viewer", _RUNS))
            for _ in range(20)
            for of in (alpha, beta)
        ]
        for of, answer in asked:
            told = answer.result().text
            other = beta if of is alpha else alpha
            assert of.secret in told and other.secret not in told


def test_an_operator_sees_all_and_may_look_as_one_tenant(two_tenants: Tenants) -> None:
    web, alpha, beta = two_tenants
    everything = web.post("/operator", _RUNS).text
    assert alpha.secret in everything and beta.secret in everything
    one = web.post("alpha/operator", _RUNS).text
    assert alpha.secret in one and beta.secret not in one
