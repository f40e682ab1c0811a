"""The example of published agents: three frameworks, published, upgraded, withdrawn, by real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script

ROOT = Path(__file__).parents[2]
SECONDS = 540


@pytest.mark.timeout(SECONDS + 30)
def test_an_agent_is_published_upgraded_and_withdrawn_in_three_frameworks(endpoint: ModelEndpoint) -> None:
    endpoint.reset()
    url = endpoint.script("reviewers", Script())
    done = subprocess.run(
        [sys.executable, "-m", "examples.published_reviewers.walk", "--model", url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4_000:]
    said = done.stdout.splitlines()
    assert said[-1] == "published 6, ran 6, withdrawn 1"
    assert "acme/langgraph-reviewer 1.1.0 was withdrawn; 1.0.0 runs from now on" in said
    tree = [line for line in said if "└──" in line]
    assert len(tree) == 1 and "acme/langgraph-reviewer:1.1.0@sha256:" in tree[0] and "of acme" in tree[0]
    assert len(endpoint.calls_of("reviewers")) >= 18, "three licences, two versions, three frameworks"
