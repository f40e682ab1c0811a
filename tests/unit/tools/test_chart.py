"""The chart's values: described where they are defined, and the files that are generated from them."""

import json
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import Field

from orchestrator_tools.chart import files
from orchestrator_tools.chart.__main__ import main
from orchestrator_tools.chart.documented import ChartValues, NotDescribed, described
from orchestrator_tools.chart.files import CHART, defaults_template, generated, tables, values_file
from orchestrator_tools.chart.schema import values, values_schema
from orchestrator_tools.chart.tenant_values import Location
from orchestrator_tools.chart.values import Values


class Base(ChartValues):
    """Of both.

    Attributes:
        first: What it is,
            in two lines.
        second: None means nothing.
    """

    first: int
    second: str | None = None


class More(Base):
    """More.

    Attributes:
        second: Another word for it.
        third_one: By an alias.
    """

    third_one: int = Field(alias="except")


@dataclass(frozen=True)
class Plain:
    """A dataclass.

    Attributes:
        name: Of it.

    Not an attribute: this.
    """

    name: str


class Lacking(ChartValues):
    """Without a word.

    Attributes:
        here: Is.
    """

    here: int
    there: int


class Left(ChartValues):
    """With too many.

    Attributes:
        here: Is.
        gone: Was.
    """

    here: int


def test_what_attributes_are_is_read_from_docstrings() -> None:
    assert described(Base) == {"first": "What it is, in two lines.", "second": "null means nothing."}
    assert described(More) == {
        "first": "What it is, in two lines.",
        "second": "Another word for it.",
        "third_one": "By an alias.",
    }
    assert described(Plain) == {"name": "Of it."}


def test_an_attribute_without_a_word_is_named() -> None:
    with pytest.raises(NotDescribed, match=r"Lacking\.there: its docstring does not say what it is"):
        described(Lacking)
    with pytest.raises(NotDescribed, match="Left: its docstring describes 'gone', which it does not have"):
        described(Left)


def test_generated_files_are_as_their_models_say() -> None:
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name}: run `make format`"


def test_a_changed_file_is_told_of_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "README.md").write_text("# By hand\n")
    monkeypatch.setattr(files, "CHART", tmp_path)
    monkeypatch.setattr("orchestrator_tools.chart.__main__.CHECKOUT", tmp_path)
    monkeypatch.setattr("sys.argv", ["chart", "--check"])
    assert main() == 1
    assert "values.schema.json is not what its models say" in capsys.readouterr().out
    assert not (tmp_path / "values.yaml").exists()
    monkeypatch.setattr("sys.argv", ["chart"])
    assert main() == 0
    monkeypatch.setattr("sys.argv", ["chart", "--check"])
    assert main() == 0
    assert (tmp_path / "README.md").read_text().startswith("# By hand\n<!-- values")


def test_every_value_has_a_description() -> None:
    found = list(values(values_schema()))
    assert len(found) > 200
    assert [".".join(value.path) for value in found if len(value.description) < 5] == []


def test_the_schema_is_one_and_refuses_other_keys() -> None:
    schema = values_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    written = yaml.safe_load((CHART / "ci" / "teams-values.yaml").read_text())
    jsonschema.validate(written, schema)
    Values.model_validate(written)
    objects = [one for one in schema["$defs"].values() if one["type"] == "object"]
    assert len(objects) > 20
    for definition in objects:
        assert definition.get("additionalProperties") is False, definition
    for name in ("tenants", "locations"):
        part = schema["properties"][name]
        assert part["additionalProperties"] is False and len(part["patternProperties"]) == 1


def test_values_yaml_holds_the_defaults_and_names_what_is_needed() -> None:
    text = values_file(values_schema())
    read = yaml.safe_load(text)
    assert read["gateway"]["replicas"] == 2 and read["gateway"]["secret"] == {}
    assert read["tenants"] == {} and read["postgresql"]["host"] is None
    assert "  # image:  # (needed)" in text.splitlines()
    assert "image" not in read["gateway"]


def test_defaults_that_values_yaml_cannot_hold_are_in_a_template() -> None:
    lines = defaults_template(values_schema()).splitlines()
    written = json.loads(lines[lines.index('{{- define "orchestrator.defaults.location" -}}') + 1])
    location = Location.model_validate({"tenant": "a", "image": "b", "module": "c", **written})
    least = Location.model_validate({"tenant": "a", "image": "b", "module": "c"})
    assert location.model_dump(mode="json") == least.model_dump(mode="json")


def test_the_table_has_each_value_once() -> None:
    rows = [line.split("`")[1] for line in tables(values_schema()).splitlines() if line.startswith("| `")]
    assert len(rows) == len(set(rows)) > 120
    assert {
        "gateway.image",
        "tenants.NAME.quota.gpus",
        "gateway.configuration.models.NAME.targets[].weight",
    } <= {*rows}
