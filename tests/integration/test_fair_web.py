"""The tenants' web server over the fair queue: what is submitted there waits, or fails with the reason."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_tenancy.tenant_store import open_tenants
from tests.integration.postgres_servers import PostgresServer
from tests.integration.tenant_locations import LOCATIONS
from tests.integration.tenant_plants import LAUNCH, REPOSITORY
from tests.integration.tenant_web import Web, tenant_web

pytestmark = pytest.mark.filterwarnings("ignore")

FAIR = ("orchestrator_tenancy.queue.seam_coordinator", "FairRunCoordinator")
RUN = """
query ($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { status eventConnection { events { ... on MessageEvent { message } } } }
  }
}"""
SECONDS = 20.0
"""For a server to see that something changed."""


@pytest.fixture
def web(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with tenant_web(tmp_path, postgres.database(), FAIR) as served:
        yield served


def suspended(value: bool) -> None:
    """Have alpha in the control plane."""
    location = {"kind": "custom", "image": "alpha:1", "module": "alpha"}
    alpha = {
        "organisation": "all",
        "plan": "enterprise",
        "suspended": value,
        "locations": {LOCATIONS["alpha"]: location},
    }
    with open_tenants() as tenants:
        tenants.change(
            lambda written: written.update(organisations={"all": {"title": "All"}}, tenants={"alpha": alpha})
        )


def launch(web: Web) -> tuple[str, str]:
    """Launch a job as alpha; return the run's status and what its log says."""
    selector = {
        "repositoryName": REPOSITORY,
        "repositoryLocationName": LOCATIONS["alpha"],
        "pipelineName": "alpha__job",
    }
    told = web.ask("alpha/editor", LAUNCH, given={"selector": selector})["launchRun"]
    assert told["__typename"] == "LaunchRunSuccess", told
    run = web.ask("alpha/editor", RUN, id=told["run"]["runId"])["runOrError"]
    return run["status"], " ".join(event.get("message", "") for event in run["eventConnection"]["events"])


def test_what_a_suspended_tenant_submits_fails_with_the_reason(web: Web) -> None:
    suspended(False)
    assert launch(web)[0] == "QUEUED"
    suspended(True)
    until = time.monotonic() + SECONDS
    while (told := launch(web))[0] == "QUEUED" and time.monotonic() < until:
        time.sleep(0.2)
    status, said = told
    assert status == "FAILURE" and "the tenant 'alpha' is suspended" in said
