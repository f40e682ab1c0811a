"""JavaScript is measured where Node runs it, and counted by its statements over all processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from orchestrator_resources.node_packages import node_wheel
from orchestrator_tools.coverage_floor import PackageCoverage
from orchestrator_tools.guest_measurement import measured_javascript
from orchestrator_tools.javascript_coverage import FileCoverage, by_javascript_package, measure, sources
from orchestrator_tools.steps import CHECKOUT

GUEST: Final = CHECKOUT / "runtimes" / "n8n" / "orchestrator_n8n" / "guest"
SCHEMAS: Final = GUEST / "schemas.js"

PROGRAM: Final = """'use strict';
// no statement
function judge(good) {
    if (good) return 'good';
    return 'bad';
}
const ask = (good) => judge(good);
const told = ask(process.argv[2] === 'good');
class Unused {
    method() {
        return told;
    }
}
"""


def node(*words: str, **environment: str) -> int:
    """Run the virtual environment's Node and return its exit status."""
    wheel = node_wheel(Path(sys.prefix))
    assert wheel is not None, "the virtual environment has no Node: run `make` again"
    command = [str(wheel / "bin" / "node"), *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False
    ).returncode


def measured(code: str, folder: Path) -> int:
    """Run code with what measures guests, which writes into a folder."""
    return node("-e", code, **{**measured_javascript(), "COVERAGE_JAVASCRIPT": str(folder)})


def test_a_statement_counts_when_it_ran_in_any_process(tmp_path: Path) -> None:
    program, reports = tmp_path / "program.js", tmp_path / "reports"
    program.write_text(PROGRAM)
    reports.mkdir()
    found: list[FileCoverage] = []
    for word in ("good", "bad"):
        node(str(program), word, NODE_V8_COVERAGE=str(tmp_path / word))
        [raw] = (tmp_path / word).iterdir()
        scripts = [s for s in json.loads(raw.read_text())["result"] if s["url"] == program.as_uri()]
        (reports / f"{word}.json").write_text(json.dumps(scripts))
        found.append(measure([program], reports)[program])
    one, both = found
    assert one == FileCoverage(statements=7, covered=5, missing=[5, 11])
    assert both == FileCoverage(statements=7, covered=6, missing=[11])


def test_a_process_tells_of_our_scripts_only_and_of_nothing_when_it_runs_none(tmp_path: Path) -> None:
    assert measured("require('node:http')", tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    ends = f"require({str(SCHEMAS)!r}).mismatch({{ type: 'null' }}, 1); setImmediate(() => process.exit(3))"
    assert measured(ends, tmp_path) == 3
    [report] = tmp_path.iterdir()
    assert [script["url"] for script in json.loads(report.read_text())] == [SCHEMAS.as_uri()]


def test_one_that_throws_is_measured_and_fails_as_before(tmp_path: Path) -> None:
    assert measured(f"require({str(SCHEMAS)!r}); throw new Error('oops')", tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_half_of_a_report_is_overlooked(tmp_path: Path) -> None:
    (tmp_path / "half").write_text('[{"url":')
    assert measure([SCHEMAS], tmp_path)[SCHEMAS].covered == 0


def test_every_file_of_a_package_counts_also_one_that_never_ran(tmp_path: Path) -> None:
    files = sources()
    assert {GUEST / "worker.js", GUEST.parent / "nodes" / "OrchestratorTools.node.js"} <= {*files}
    [row] = by_javascript_package(measure(files, tmp_path / "none"))
    assert (row.package, row.covered, row.percent) == ("orchestrator_n8n (JavaScript)", 0, 0.0)
    assert row.statements > 500


@pytest.mark.parametrize("share", [0, 3])
def test_files_are_summed_for_each_package(share: int) -> None:
    folder = CHECKOUT / "runtimes" / "x" / "orchestrator_x" / "guest"
    one = FileCoverage(statements=4, covered=share, missing=[])
    rows = by_javascript_package({folder / "a.js": one, folder / "b.js": one})
    assert rows == [PackageCoverage(package="orchestrator_x (JavaScript)", statements=8, covered=2 * share)]
