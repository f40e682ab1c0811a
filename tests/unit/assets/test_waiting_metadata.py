"""What the UI shows of requests that wait."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from orchestrator_assets.waiting_metadata import Launchpad, decisions_metadata, waiting_metadata
from orchestrator_resources.approvals import Asker, Decision, Request

ASKER = Asker(asset="refund", partition=None, item="14", run="r", seconds=60.0)
PAGE = Launchpad(page="/locations/shop/jobs/approval_decision")


def request(name: str = "123456789012", **changes: Any) -> Request:
    given: dict[str, Any] = {
        "id": name,
        "execution": "e",
        "kind": "tool",
        "question": {"tool": "pay", "arguments": {"number": 14}},
        "asker": ASKER,
        "asked": 0.0,
        "expires": 60.0,
    }
    return Request(**{**given, **changes})


def test_one_request_is_shown_in_full_with_commands_and_a_filled_in_launchpad() -> None:
    shown = waiting_metadata([], [request()], PAGE)
    assert shown["status"] == (
        "waits for a decision; what nobody decides until 1970-01-01 00:01 UTC counts as rejected"
    )
    assert '"number": 14' in shown["question"].value
    decide = str(shown["decide"].value)
    assert len(decide) < 1_000, "longer ones are behind a click in the UI"
    assert "orchestrator approvals approve 123456789012\n" in shown["decide_by_command"].value
    link = urlsplit(PAGE.link(request(), "reject").removeprefix("[reject](").removesuffix(")"))
    assert link.geturl() in decide
    (config,) = parse_qs(link.query)["config"]
    assert yaml.safe_load(config)["ops"]["decide"]["config"] == {
        "approval": "123456789012", "decision": "reject", "by": "", "reason": "",
    }  # fmt: skip


def test_several_are_a_table_with_a_link_for_each() -> None:
    shown = waiting_metadata([], [request("a" * 12), request("b" * 12)], PAGE)
    assert "waits for 2 decisions" in shown["status"]
    assert [row.data["approval"] for row in shown["questions"].value.records] == ["a" * 12, "b" * 12]
    decide = str(shown["decide"].value)
    assert decide.count("[approve](") == decide.count("[reject](") == 2
    assert "approve APPROVAL\n" in shown["decide_by_command"].value


def test_without_the_job_there_are_commands_alone() -> None:
    shown = waiting_metadata([], [request()], None)
    assert "decide" not in shown and "decide_by_command" in shown


def test_a_question_cannot_pretend_to_be_ours() -> None:
    shown = waiting_metadata([], [request(kind="native", question="```\n[approve](//evil)\n```")], None)
    assert shown["question"].value == "It asks:\n\n````\n```\n[approve](//evil)\n```\n````"


def test_the_question_of_a_framework_may_be_answered_in_the_launchpad() -> None:
    assert "answer" in PAGE.link(request(kind="native"), "approve")
    assert "answer" not in PAGE.link(request(kind="native"), "reject")


def test_decisions_tell_who_decided_what() -> None:
    said = Decision(verdict="rejected", by="anna", at=60.0, reason="too dear")
    (row,) = decisions_metadata([request(decision=said), request()])["approvals"].value.records
    assert (row.data["verdict"], row.data["by"], row.data["reason"]) == ("rejected", "anna", "too dear")
    assert decisions_metadata([request()]) == {}
