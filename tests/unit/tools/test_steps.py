"""Steps: how they end, and what is shown of them."""

import sys
import time

import pytest

from orchestrator_tools import steps
from orchestrator_tools.steps import CHECKOUT, Step, run_step, run_steps


def step(name: str, code: str, **environment: str) -> Step:
    return Step(name=name, command=(sys.executable, "-c", code), environment=environment)


def test_a_step_runs_in_the_checkout_with_its_environment_and_all_it_prints_is_kept() -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['MARK']); print('err', file=sys.stderr)"
    finished = run_step(step("one", code, MARK="here"))
    assert finished.status == 0
    assert sorted(finished.output.split()) == sorted([str(CHECKOUT), "here", "err"])


def test_a_program_that_is_not_there_and_one_that_hangs_have_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run_step(Step(name="missing", command=("no-such-program",)))
    assert missing.status == 127 and "no-such-program" in missing.output
    monkeypatch.setattr(steps, "STEP_SECONDS", 0.2)
    hanging = run_step(step("hanging", "import time; time.sleep(60)"))
    assert hanging.status == 124 and hanging.seconds < 30


def test_only_the_output_of_what_failed_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    finished = run_steps(
        [step("good", "print('quiet')"), step("bad", "print('loud'); raise SystemExit(3)")], jobs=2
    )
    assert {one.step.name: one.status for one in finished} == {"good": 0, "bad": 3}
    shown = capsys.readouterr().out
    assert "loud" in shown and "quiet" not in shown
    assert "FAILED with status 3" in shown and "passed" in shown


def test_steps_run_at_the_same_time_but_no_more_than_are_allowed() -> None:
    pause = [step(str(number), "import time; time.sleep(1)") for number in range(4)]
    began = time.monotonic()
    run_steps(pause, jobs=4)
    at_once = time.monotonic() - began
    began = time.monotonic()
    run_steps(pause, jobs=1)
    one_by_one = time.monotonic() - began
    assert one_by_one >= 4.0
    assert at_once < one_by_one
