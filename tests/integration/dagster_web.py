"""The real Dagster web server, daemon and code location over a project, as people and programs reach them."""

import contextlib
import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator_tools import services
from orchestrator_tools.instances import prepare_instance
from orchestrator_tools.steps import BIN

_REQUEST_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2

_IN_PROCESS: Final[Mapping[str, Any]] = {"config": {"in_process": {}}}
"""Two processes less to start for each run."""

_LOCATIONS: Final = (
    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
)
_LAUNCH: Final = """
mutation ($given: ExecutionParams!) {
  launchRun(executionParams: $given) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_RUN: Final = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"
_RUNS: Final = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
_ASSET: Final = """
query ($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) {
    ... on Asset {
      assetObservations { description runId metadataEntries { ...entry } }
      assetMaterializations { runId metadataEntries { ...entry } }
    }
  }
}
fragment entry on MetadataEntry {
  label
  ... on TextMetadataEntry { text }
  ... on MarkdownMetadataEntry { mdStr }
  ... on JsonMetadataEntry { jsonString }
  ... on IntMetadataEntry { intValue }
  ... on UrlMetadataEntry { url }
  ... on TableMetadataEntry { table { records } }
}"""


class DagsterWeb:
    """A running web server, by its GraphQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        (repository,) = self.ask(_LOCATIONS)["repositoriesOrError"]["nodes"]
        self._selector = {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
        }

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of an answer without errors."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as answer:
            told = json.load(answer)
        assert "errors" not in told, told
        data: dict[str, Any] = told["data"]
        return data

    def launch(self, job: str, *assets: str, config: Mapping[str, Any] | None = None) -> str:
        """Launch a run of a job, or of some assets of it, and return its id."""
        selector: dict[str, Any] = {**self._selector, "pipelineName": job}
        if assets:
            selector["assetSelection"] = [{"path": name.split("/")} for name in assets]
        settings: dict[str, Any] = {"execution": _IN_PROCESS, **(config or {})}
        given = {"selector": selector, "runConfigData": settings}
        launched = self.ask(_LAUNCH, given=given)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def ended(self, run: str) -> str:
        """Return the status of a run once it has ended."""
        until(lambda: self._status(run) in {"SUCCESS", "FAILURE", "CANCELED"}, f"the end of the run {run}")
        return self._status(run)

    def tags(self, run: str) -> dict[str, str]:
        """Return the tags of a run."""
        return _tags(self.ask(_RUN, id=run)["runOrError"])

    def runs(self, tag: str, value: str) -> list[str]:
        """Return the ids of the runs that have a tag."""
        found = self.ask(_RUNS)["runsOrError"]["results"]
        return [run["runId"] for run in found if _tags(run).get(tag) == value]

    def observations(self, asset: str) -> list[dict[str, Any]]:
        """Return what was observed of an asset, the latest first: metadata by name."""
        return [_values(event) for event in self._asset(asset).get("assetObservations", ())]

    def materializations(self, asset: str) -> list[dict[str, Any]]:
        """Return an asset's values, the latest first: metadata by name."""
        return [_values(event) for event in self._asset(asset).get("assetMaterializations", ())]

    def _asset(self, asset: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(_ASSET, key={"path": asset.split("/")})["assetOrError"]
        return found

    def _status(self, run: str) -> str:
        return str(self.ask(_RUN, id=run)["runOrError"]["status"])


def until(condition: Callable[[], bool], what: str) -> None:
    """Look until something is so; fail the test after a minute."""
    end = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {_WAIT_SECONDS:.0f} s: {what}"
        time.sleep(_LOOK_SECONDS)  # the server is asked, and is not to be busy with that alone


@contextlib.contextmanager
def dagster_web(project: Path, **environment: str) -> Generator[DagsterWeb]:
    """Serve a project from an instance of its own, as `make up` serves the example; ends all of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(prepare_instance(project / "instance")),
        **environment,
    }
    process = services.start(port, project=project, environment=given)
    try:
        url = f"http://127.0.0.1:{port}"
        assert services.wait_until_ready(process, url), "Dagster does not start; its output is above"
        yield DagsterWeb(url)
    finally:
        services.stop(process)


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _values(event: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"run": event["runId"], "description": event.get("description")}
    for entry in event["metadataEntries"]:
        values = [value for name, value in entry.items() if name != "label"]
        found[entry["label"]] = values[0] if values else None
    return found
