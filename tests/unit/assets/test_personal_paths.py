"""A mark that leads nowhere, or to what stands in the clear anyway, is refused with what to do."""

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator_assets import AgentSpec, PortableSpec
from orchestrator_assets.execution_specs import ForEachSpec, InputSpec
from orchestrator_assets.personal_paths import input_paths, output_paths

pytestmark = pytest.mark.usefixtures("fake_framework")

SCHEMA = {"type": "object", "properties": {"summary": {"type": "string"}}}


def spec(*personal: str, **changes: Any) -> AgentSpec:
    given: dict[str, Any] = {
        "framework": "fake",
        "portable": PortableSpec(instructions="Help.", output_schema=SCHEMA),
        "inputs": {
            "customer": InputSpec(asset="customers"),
            "day": InputSpec(partition_key=True),
            "shop": InputSpec(value={"owner": "ada"}),
        },
        "for_each": ForEachSpec(input="customer", key="id"),
        "personal": personal,
    }
    return AgentSpec(**{**given, **changes})


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("customer..email", "'customer..email' is no path: names with dots between them, such as customer.email"),
        ("digest", "'digest' names no field: the output's schema has none there, and no input is named 'digest'; a path"
                   " begins with a field of the output or with one of customer, day, shop, output"),
        ("summary.text", "'summary.text' names no field"),
        ("day", "'day' is the partition's key, which Dagster shows everywhere: take it from an asset"),
        ("shop.owner", "'shop.owner' is a fixed value, which stands here in the clear: take it from an asset"),
        ("customer.id", "'customer.id' names the rows, by for_each.key: name them by a field that is not personal"),
        ("customer", "'customer' names the rows, by for_each.key"),
    ],
)  # fmt: skip
def test_a_wrong_mark_is_refused(path: str, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        spec("summary", path)
    (error,) = refused.value.errors()
    cause: Any = error.get("ctx", {})["error"]
    assert str(cause).startswith(why) and cause.path == ("personal", 1)


def test_marks_of_inputs_and_of_the_output() -> None:
    made = spec("customer.email", "customer.address.street", "summary", "output")
    assert input_paths(made, "customer") == (("email",), ("address", "street"))
    assert output_paths(made) == (
        (("customer", "email"), False),
        (("customer", "address", "street"), False),
        (("summary",), True),
        ((), True),
    )


def test_without_a_schema_any_field_of_the_output_may_be_there() -> None:
    made = spec("anything.at.all", portable=PortableSpec(instructions="Help."))
    assert output_paths(made) == ((("anything", "at", "all"), True),)


def test_numbered_rows_may_be_personal_as_a_whole() -> None:
    assert input_paths(spec("customer", for_each=ForEachSpec(input="customer")), "customer") == ((),)
