"""Agents of one's own go out: evaluated in real frameworks, signed, pushed to a real registry, submitted, and once."""

import contextlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.resolved.errors import ResolutionException

from orchestrator_marketplace.catalogue_databases import SqliteDatabase
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.publication_checks import PublicationChecks
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.pulls import pull_bundle
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signing_keys import (
    load_public_key,
    write_key_pair,
)
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_sensors import BundleReleaseComponent
from orchestrator_sensors.release_checks import case_check_name
from orchestrator_sensors.release_folders import loaded_alone
from tests.integration.agent_materializations import failure, metadata
from tests.integration.bundle_registries import real_registry
from tests.integration.command_lines import refused, succeeds
from tests.integration.how_tos import HOW_TO
from tests.integration.served_marketplaces import served_marketplace

PAGE = (HOW_TO / "publish-from-a-code-location.md").read_text()

pytestmark = pytest.mark.filterwarnings(
    "ignore:`parse_obj_as` is deprecated"
)  # Dagster's own, where YAML is read

MANIFEST = """\
bundle: 1
name: acme/guide
version: {version}
summary: Tells when the museum is open
licence: Apache-2.0
framework: {framework}
portable:
  name: guide
  instructions: You help visitors of a museum.
  model: scripted
  tools: [{{function: "tools:opening_hours"}}]
  output_schema: {schema}
inputs: {{type: object, properties: {{question: {{type: string}}}}, required: [question]}}
output: {schema}
"""
SCHEMA = (
    "{type: object, properties: {open: {type: boolean}, hours: {type: string}}, required: [open, hours],"
    " additionalProperties: false}"
)
TOOLS = '''\
def opening_hours(day: str) -> str:
    """Tell when the museum is open."""
    return "10 to 18"
'''
ANSWER = {"open": True, "hours": "10 to 18"}
CASES = (
    {"name": "tuesday", "inputs": {"question": "Is it open on Tuesday?"}, "output": ANSWER},
    {"name": "when, in hours?", "inputs": {"question": "When is it open?"}, "contains": ["10 to 18"]},
)
WRONG = {
    "name": "monday",
    "inputs": {"question": "Is it open on Monday?"},
    "output": {**ANSWER, "open": False},
}


def write_guide(
    folder: Path,
    *,
    framework: str,
    version: str = "1.0.0",
    thresholds: str = "",
    cases: tuple[object, ...] = CASES,
) -> Path:
    """Write a bundle whose agent asks a tool and answers by a schema."""
    texts = {
        "bundle.yaml": MANIFEST.format(version=version, framework=framework, schema=SCHEMA) + thresholds,
        "agent/tools.py": TOOLS,
        "README.md": "# Guide\n",
        "evaluation.jsonl": "".join(json.dumps(case) + "\n" for case in cases),
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things go out to."""

    folder: Path
    registry: str
    marketplace: str
    model: str
    endpoint: ModelEndpoint

    @property
    def words(self) -> tuple[str, ...]:
        """What every command says."""
        return (
            "--registry",
            self.registry,
            "--key",
            "acme.key",
            "--at",
            self.marketplace,
            "--layouts",
            "kept",
        )

    def publish(self, what: str, *more: str) -> list[str]:
        """Publish, and return the lines."""
        said = succeeds(
            "orchestrator",
            "publish",
            what,
            *self.words,
            *more,
            folder=self.folder,
            ORCHESTRATOR_MODEL_URL=self.model,
        )
        return said.splitlines()

    def check(self) -> None:
        """Let the marketplace's checks look at what was submitted."""
        with contextlib.closing(Catalogue(SqliteDatabase(self.folder / "catalogue.db"))) as catalogue:
            operator = load_public_key(self.folder / "operator.key.pub")
            name = self.marketplace.removeprefix("http://")
            assert PublicationChecks(
                ReferenceMarketplace(name, catalogue, (operator,), (self.registry,))
            ).run_once()

    def refused(self, what: str) -> str:
        """Publish what is refused, and return why."""
        return refused(
            "orchestrator",
            "publish",
            what,
            *self.words,
            folder=self.folder,
            ORCHESTRATOR_MODEL_URL=self.model,
        )


@pytest.fixture
def places(tmp_path: Path, endpoint: ModelEndpoint) -> Iterator[Places]:
    endpoint.reset()
    url = endpoint.script(
        "releases", Script(tool=("opening_hours",), arguments={"day": "tuesday"}, output=ANSWER, strict=True)
    )
    write_key_pair(tmp_path / "acme.key", tmp_path / "acme.key.pub")
    (tmp_path / "registry").mkdir()
    with (
        real_registry(tmp_path / "registry") as registry,
        served_marketplace(tmp_path, registry) as marketplace,
    ):
        yield Places(
            folder=tmp_path, registry=registry, marketplace=marketplace, model=url, endpoint=endpoint
        )


@pytest.mark.parametrize("framework", ["langgraph", "agno"])
def test_a_folder_goes_out_evaluated_in_its_own_framework_and_once(places: Places, framework: str) -> None:
    write_guide(places.folder / "guide", framework=framework)
    lines = places.publish("guide")
    assert [line.split()[0].rstrip(":") for line in lines] == [
        "built",
        "evaluated",
        "signed",
        "pushed",
        "submitted",
    ]
    assert (
        lines[1]
        == "evaluated: passed 2 of 2, 100 % are wanted; completed 2 of 2; schema 2 of 2; exact 1 of 1; contains 1 of 1"
    )
    digest = lines[0].split()[-1]
    assert lines[3] == f"pushed: {places.registry}/acme/guide:1.0.0@{digest}"
    asked = places.endpoint.count
    assert asked >= 4, "two cases of two calls at least"
    again = places.publish("guide")
    assert [line.partition(":")[0].split()[-1] for line in again] == ["before"] * 5
    assert places.endpoint.count == asked and again[0].endswith(digest)
    market = HttpMarketplace(places.marketplace)
    assert market.version("acme/guide", "1.0.0").digest == digest
    places.check()
    told = market.evidence("acme/guide", "1.0.0").evaluation
    assert (
        told is not None and told.failed == () and str(told.measures["passed"]) == "2 of 2, 100 % are wanted"
    )
    market.close()
    own = Publishers(keys=(("acme", load_public_key(places.folder / "acme.key.pub")),))
    with Repository(parse_reference(lines[3].split()[-1])) as repository:
        pulled = pull_bundle(repository, Installations(places.folder / "installed"), own, datetime.now(UTC))
    assert pulled.accepted.bundle.digest == digest


def test_one_that_misses_its_threshold_stays_here(places: Places) -> None:
    write_guide(
        places.folder / "guide",
        framework="langgraph",
        thresholds="thresholds: {passed: 60, exact: 100}\n",
        cases=(*CASES, WRONG),
    )
    said = places.refused("guide")
    assert "threshold: acme/guide 1.0.0: exact: 1 of 2, 100 % are wanted; 'monday': the output is" in said
    with Repository(parse_reference(f"{places.registry}/acme/guide:1.0.0")) as repository:
        assert repository.manifest("1.0.0") is None
    write_guide(
        places.folder / "guide",
        framework="langgraph",
        thresholds="thresholds: {passed: 60, exact: 50}\n",
        cases=(*CASES, WRONG),
    )
    assert places.publish("guide")[1].startswith("evaluated: passed 2 of 3, 60 % are wanted; ")
    write_guide(places.folder / "guide", framework="langgraph")
    assert "moved_tag: " in places.refused("guide") and "raise the version" in places.refused("guide")


def component(places: Places, folder: Path, **changes: object) -> dg.Definitions:
    """Return what the component of a folder defines."""
    attributes = {
        "bundle": "guide",
        "registry": places.registry,
        "key": "acme.key",
        "marketplace": places.marketplace,
        "asset": {"key": "releases/guide"},
        **changes,
    }
    made = BundleReleaseComponent.resolve_from_dict(attributes).made_in(folder, loaded_alone, folder)
    return dg.Definitions(
        assets=made.assets,
        jobs=made.jobs,
        resources={"agent_runtimes": AgentRuntimes(model_url=places.model, processes=1)},
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as made:
        yield made


def released(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run the job."""
    job = definitions.resolve_job_def("release_releases__guide")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Return whether each check passed."""
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def test_a_job_does_the_same_with_a_check_for_each_case_and_threshold(
    places: Places, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator_sensors.bundle_release_component.release_layouts", lambda: places.folder / "kept"
    )
    write_guide(
        places.folder / "guide",
        framework="langgraph",
        thresholds="thresholds: {exact: 100}\n",
        cases=(*CASES, WRONG),
    )
    result = released(component(places, places.folder), instance)
    code, told = failure(result)
    assert code == "agent_load_failed" and told.startswith("agent_load_failed: threshold: acme/guide 1.0.0: ")
    found = checks(result)
    when = case_check_name("when, in hours?")
    assert found == {
        "threshold_passed": False, "threshold_completed": True, "threshold_schema": True, "threshold_exact": False,
        "threshold_contains": True, "case_tuesday": True, when: True, "case_monday": False,
    }  # fmt: skip
    assert not result.get_asset_materialization_events()

    write_guide(places.folder / "guide", framework="langgraph")
    whole = component(places, places.folder)
    first = released(whole, instance)
    assert first.success and all(checks(first).values()) and len(checks(first)) == 7
    told_first = metadata(first, "releases/guide")
    assert told_first["publish"] == f"{places.registry}/acme/guide:1.0.0@{told_first['digest']}"
    assert (told_first["review"], told_first["publisher"], told_first["evaluated_before"]) == (
        "checks",
        "acme",
        False,
    )
    asked = places.endpoint.count
    shutil.rmtree(places.folder / "kept")
    again = released(whole, instance)
    assert again.success and checks(again) == checks(first) and places.endpoint.count == asked
    told_again = metadata(again, "releases/guide")
    assert told_again["evaluated_before"] and told_again["digest"] == told_first["digest"], (
        "the registry knows it"
    )


def test_an_agent_asset_goes_out_by_its_key(places: Places) -> None:
    write_project(places.folder, "guides", "guide")
    lines = places.publish("museum/guide")
    assert lines[0].startswith("built: acme/guide 1.0.0 ") and lines[1].startswith("evaluated: passed 2 of 2")
    with Repository(parse_reference(lines[3].split()[-1])) as repository:
        own = Publishers(keys=(("acme", load_public_key(places.folder / "acme.key.pub")),))
        pulled = pull_bundle(repository, Installations(places.folder / "installed"), own, datetime.now(UTC))
    manifest = pulled.accepted.bundle.contents.manifest
    assert (manifest.framework, manifest.models) == ("langgraph", ("scripted",))
    assert manifest.portable is not None and manifest.portable.tools[0].function == "tools:opening_hours"
    assert sorted(path.name for path in (pulled.folder / "agent").iterdir()) == ["README.md", "tools.py"]
    assert "the project has no agent asset 'museum/none'; there are museum/guide" in places.refused(
        "museum/none"
    )
    again = places.publish("guides/defs/guide")
    assert again[0].split()[-1] == lines[0].split()[-1], "its folder names it, too"


def test_the_how_to_is_what_happens(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    url = places.endpoint.script("how-to", Script())
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    folder = places.folder / "page"
    folder.mkdir()
    said = ""
    for line in block.replace("registry.example", places.registry).splitlines():
        words = shlex.split(line)
        kept = ("--layouts", "kept") if words[1] == "publish" else ()
        said = succeeds(*words, *kept, folder=folder, ORCHESTRATOR_MODEL_URL=url)
    shown = re.findall(r"```\n(built: .*?)```", PAGE, re.DOTALL)[0].replace(
        "registry.example", places.registry
    )
    assert re.sub(r"sha256:\w+", "sha256:…", said) == shown
    manifest = folder / "clock" / "bundle.yaml"
    (thresholds,) = re.findall(r"<!-- bundle: thresholds -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    manifest.write_text(manifest.read_text() + thresholds)
    (yaml_text,) = re.findall(r"```yaml\n(# defs.yaml.*?)```", PAGE, re.DOTALL)
    monkeypatch.setenv("ACME_KEY_FILE", "acme.key")
    made = BundleReleaseComponent.resolve_from_yaml(yaml.safe_dump(yaml.safe_load(yaml_text)["attributes"]))
    definitions = made.made_in(folder, loaded_alone, folder)
    names = [job.name for job in definitions.jobs or ()]
    assert len(names) == 1 and f"`{names[0]}`" in PAGE and made.key == "acme.key"
    specs = definitions.resolve_asset_graph().asset_check_keys
    assert {"threshold_exact", "threshold_passed"} & {key.name for key in specs} == {"threshold_passed"}


def test_what_is_no_bundle_is_refused_in_a_line(places: Places) -> None:
    (places.folder / "empty").mkdir()
    assert "empty: has no bundle.yaml: begin with `orchestrator bundle init`" in places.refused("empty")
    assert "'nothing' is no folder with a bundle.yaml, and" in places.refused("nothing")
    project = places.folder / "project"
    project.mkdir()
    write_guide(project / "guide", framework="langgraph")
    with pytest.raises(ResolutionException, match="is outside of the project"):
        component(places, project, bundle="../elsewhere")
    with pytest.raises(ResolutionException, match="commit: is of a source"):
        component(places, project, commit="c0ffee")
    with pytest.raises(ResolutionException, match=r"bundle: malformed: .*has no bundle.yaml"):
        component(places, project, bundle=".")


def write_project(folder: Path, package: str, name: str) -> None:
    """Write a project with an agent asset whose folder has what a bundle needs besides."""
    guide = write_guide(folder / "written", framework="langgraph")
    place = folder / package / "defs" / name
    place.mkdir(parents=True)
    (folder / package / "__init__.py").touch()
    (folder / package / "defs" / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{package}"\nversion = "1"\n[tool.dg]\ndirectory_type = "project"\n'
        f'[tool.dg.project]\nroot_module = "{package}"\n'
    )
    (place / "defs.yaml").write_text(
        "type: orchestrator_assets.AgentComponent\nattributes:\n  asset: {key: museum/guide}\n  framework: langgraph\n"
        "  portable:\n    instructions: You help visitors of a museum.\n    model_name: scripted\n"
        f'    tools: [{{function: "tools:opening_hours"}}]\n    output_schema: {SCHEMA}\n'
    )
    (place / "bundle.yaml").write_text(
        "bundle: 1\nname: acme/guide\nversion: 1.0.0\nsummary: Tells when the museum is open\nlicence: Apache-2.0\n"
        "inputs: {type: object, properties: {question: {type: string}}, required: [question]}\n"
    )
    for file in ("README.md", "evaluation.jsonl", "agent/tools.py"):
        shutil.copy(guide / file, place / Path(file).name)
    shutil.rmtree(guide)
