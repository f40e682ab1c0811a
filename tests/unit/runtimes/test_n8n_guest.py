"""The JavaScript of n8n's guest, by Node's own test runner, and held to what Python says of the same schemas."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_resources.node_packages import node_wheel
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.output_schemas import check_schema, mismatch
from orchestrator_tools.guest_measurement import measured_javascript
from tests.unit.contract.json_schemas import schemas_of, values_of

TESTS: Final = Path(__file__).with_name("n8n_guest")
EXACT: Final = 2**53 - 1
"""The largest whole number that JavaScript tells from its neighbours."""

Ask = Callable[[Json, Json], str | None]


def words(file: Path, *options: str) -> list[str]:
    """Return the command line of a file in the Node of the virtual environment, which is of n8n's version."""
    wheel = node_wheel(Path(sys.prefix))
    assert wheel is not None, "the virtual environment has no Node: run `make` again"
    return [str(wheel / "bin" / "node"), *options, str(file)]


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.test.js")), ids=lambda file: file.name)
def test_the_tests_in_javascript_pass(file: Path) -> None:
    command = words(file, "--test-reporter=tap")
    environment = {**os.environ, **measured_javascript()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    counts = dict(re.findall(r"^# (tests|pass) (\d+)$", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts["pass"] == counts["tests"] != "0", "none is skipped"


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Ask the JavaScript why a value does not match a schema; None says that it does."""
    environment = {**os.environ, **measured_javascript()}
    with subprocess.Popen(
        words(TESTS / "mismatch.js"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def asked(schema: Json, value: Json) -> str | None:
            stdin.write(json.dumps([schema, value]) + "\n")
            stdin.flush()
            reason: str | None = json.loads(stdout.readline())
            return reason

        yield asked


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from("abc")
    | st.text(max_size=3)
)
names = st.sampled_from(["a", "b", "c", "", "__proto__", "constructor", "toString"])
values = values_of(scalars, names)


def place(reason: str | None) -> str | None:
    """Return what a reason is about: after it, the two languages write a value differently."""
    return reason and reason.partition(": ")[0]


@settings(max_examples=300, deadline=None)
@given(schema=schemas_of(values, names), value=values)
def test_both_languages_say_whether_and_where_a_value_breaks_a_schema(
    ask: Ask, schema: dict[str, Any], value: Json
) -> None:
    check_schema(schema)
    assert place(ask(schema, value)) == place(mismatch(schema, value))


foreign = st.dictionaries(
    st.sampled_from(
        [
            "type",
            "enum",
            "anyOf",
            "$ref",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "const",
            "x",
        ]
    ),
    values,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(schema=foreign, value=values)
def test_both_languages_overlook_the_same_of_a_foreign_schema(
    ask: Ask, schema: dict[str, Any], value: Json
) -> None:
    assert place(ask(schema, value)) == place(mismatch(schema, value))
