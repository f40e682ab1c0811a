"""The how-to about approvals, through the real web server: launched, asked, decided and resumed over GraphQL."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from orchestrator_assets.resumed_runs import RESUMES_TAG
from orchestrator_assets.waiting_steps import WAITING_TAG
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.dagster_web import dagster_web, until
from tests.integration.how_tos import write_project

TOOL = """
def refund(number: int) -> str:
    'Pay an order back.'
    with open({file!r}, "a") as paid:
        paid.write(f"{{number}} ")
    return f"order {{number}} is paid back"
"""


def filled_in(markdown: str, decision: str) -> dict[str, Any]:
    """Return the config with which a link of a question opens the launchpad."""
    found = re.search(rf"\[{decision}\]\((\S+)\)", markdown)
    assert found, markdown
    page, query = found.group(1).split("?")
    assert page.endswith("/jobs/approval_decision/playground/setup")
    config: dict[str, Any] = yaml.safe_load(parse_qs(query)["config"][0])
    return config


@pytest.mark.timeout(300)
def test_a_question_is_seen_decided_and_gone_on_with_over_graphql(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    write_project(tmp_path, "ask-a-person")
    (tmp_path / "team/defs/refund/tools.py").write_text(TOOL.format(file=str(tmp_path / "paid")))
    (tmp_path / "team/defs/approvals/defs.yaml").write_text(
        "type: orchestrator_assets.ApprovalsComponent\nattributes: {seconds: 1}\n"
    )
    endpoint.reset()
    url = endpoint.script("web", Script(arguments={"number": 14}))
    with dagster_web(tmp_path, ORCHESTRATOR_MODEL_URL=url) as web:
        asked = web.launch("__ASSET_JOB", "refund")
        assert web.ended(asked) == "SUCCESS"
        assert web.tags(asked)[WAITING_TAG] == "1"
        assert web.materializations("refund") == []
        (question,) = web.observations("refund")
        assert '"number": 14' in question["question"]
        assert endpoint.count == 1 and not (tmp_path / "paid").exists()

        config = filled_in(question["decide"], "approve")
        assert config["ops"]["decide"]["config"] | {"approval": ""} == {
            "approval": "", "decision": "approve", "by": "", "reason": "",
        }  # fmt: skip
        config["ops"]["decide"]["config"] |= {"by": "anna", "reason": "the customer is right"}
        decided = web.launch("approval_decision", config=config)
        assert web.ended(decided) == "SUCCESS"

        until(lambda: bool(web.runs(RESUMES_TAG, asked)), "the sensor goes on with it")
        (resumed,) = web.runs(RESUMES_TAG, asked)
        assert web.ended(resumed) == "SUCCESS"
        (value,) = web.materializations("refund")
    assert value["run"] == resumed
    (approval,) = map(json.loads, value["approvals"]["records"])
    assert (approval["verdict"], approval["by"]) == ("approved", "anna")
    assert (tmp_path / "paid").read_text() == "14 "
    assert endpoint.count == 2, "the first model call is answered by the journal"
