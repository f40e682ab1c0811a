"""Marked fields of rows: sealed in what is kept, masked in what is shown, open again for whoever reads them."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator_assets import AgentSpec, PortableSpec
from orchestrator_assets.execution_specs import InputSpec
from orchestrator_assets.personal_values import MASK, FieldRefused, PersonalValues
from orchestrator_resources.execution_batches import Item, Row
from orchestrator_resources.personal_fields import is_sealed
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, Result, Usage
from tests.integration.key_files import key_file

pytestmark = pytest.mark.usefixtures("fake_framework")

ITEM = Item(key="one", execution="e", inputs=None, personal=frozenset({"ada@person.example"}))


@pytest.fixture
def texts(tmp_path: Path) -> SealedTexts:
    return SealedTexts(key_file(tmp_path / "red.json", "red"))


def values(texts: SealedTexts, *personal: str) -> PersonalValues:
    spec = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Help."),
        inputs={"letter": InputSpec(asset="letters")},
        personal=personal,
    )
    return PersonalValues(spec, lambda: texts)


def row(output: Json) -> Row:
    usage = Usage(input_tokens=1, output_tokens=2)
    return Row(
        key="one",
        result=Result(output=output, finish_reason=FinishReason.COMPLETED, usage=usage, seconds=1.0),
    )


def output(rows: list[Row]) -> Any:
    (one,) = rows
    assert one.result is not None
    return one.result.output


@pytest.mark.parametrize(
    ("personal", "said", "shown"),
    [
        (["customer", "customer.name"], {"customer": {"name": "ada"}, "n": 1}, {"customer": MASK, "n": 1}),
        (["customer.name", "customer"], {"customer": {"name": "ada"}, "n": 1}, {"customer": MASK, "n": 1}),
        (
            ["people.name"],
            {"people": [{"name": "ada"}, {"age": 3}]},
            {"people": [{"name": MASK}, {"age": 3}]},
        ),
        (["summary"], "a text where an object was asked for", MASK),
        (["letter.from"], "a text that repeats nothing", "a text that repeats nothing"),
        (["letter.from"], ["to ada@person.example"], [MASK]),
        (["letter.from"], {"letter": {"from": 4711, "n": None}}, {"letter": {"from": MASK, "n": None}}),
        (["output"], None, None),
        (["output"], 4, MASK),
    ],
)
def test_what_is_kept_opens_to_what_was_said(
    texts: SealedTexts, personal: list[str], said: Json, shown: Json
) -> None:
    made = values(texts, *personal)
    assert output(made.shown([ITEM], [row(said)])) == shown
    kept = output(made.kept([ITEM], [row(said)]))
    assert values(texts).read("letter", kept)[0] == said


def test_errors_keep_their_code_and_usage_and_quote_nothing(texts: SealedTexts) -> None:
    error = AgentError(ErrorCode.MODEL_BAD_OUTPUT, "got ada@person.example")
    vars(error).update(usage=Usage(input_tokens=7))
    made = values(texts, "output")
    for (told,) in (
        made.kept([ITEM], [Row(key="one", error=error)]),
        made.shown([ITEM], [Row(key="one", error=error)]),
    ):
        assert told.error is not None and told.error.code is ErrorCode.MODEL_BAD_OUTPUT
        assert "ada" not in str(told.error) and told.usage.input_tokens == 7


def test_without_marks_and_sealed_inputs_nothing_changes_and_no_key_is_asked_for() -> None:
    def no_key() -> SealedTexts:
        raise AssertionError("nobody needs it")

    spec = AgentSpec(framework="fake", portable=PortableSpec(instructions="Help."))
    made = PersonalValues(spec, no_key)
    rows = [row("ada@person.example")]
    assert made.kept([ITEM], rows) == made.shown([ITEM], rows) == rows and made.told("x") == "x"
    assert (
        made.read("letter", {"a": 1}) == ({"a": 1}, frozenset()) and made.scope("s") == "s" and not made.some
    )


def test_an_agent_that_gets_sealed_fields_marks_nothing_and_is_careful_all_the_same(
    texts: SealedTexts,
) -> None:
    kept = output(values(texts, "output").kept([ITEM], [row({"name": "ada lovelace"})]))
    reader = values(texts)
    clear, held = reader.read("letter", [kept])
    assert clear == [{"name": "ada lovelace"}] and held == {"ada lovelace"} and reader.some
    item = Item(key="one", execution="e", inputs=None, personal=held)
    assert is_sealed(output(reader.kept([item], [row("Dear ada lovelace")])))


def test_equal_values_have_equal_versions_that_hang_on_the_key(texts: SealedTexts, tmp_path: Path) -> None:
    other = SealedTexts(key_file(tmp_path / "blue.json", "blue"))
    versions = [values(key, "output").version("ada").value for key in (texts, texts, other)]
    assert versions[0] == versions[1] != versions[2]
    assert values(texts, "output").scope("s") != values(other, "output").scope("s")


def test_sealed_fields_may_stand_in_the_config_and_clear_ones_may_not(texts: SealedTexts) -> None:
    made = values(texts, "letter.from")
    kept = output(values(texts, "from").kept([], [row({"from": "ada"})]))
    made.refuse_in_clear("letter", kept)
    made.refuse_in_clear("letter", {"from": None, "text": "clear"})
    with pytest.raises(FieldRefused, match=r"the marked field 'letter\.from' in the clear"):
        made.refuse_in_clear("letter", {"from": "ada"})
