"""A publisher and its registry, and a location of YAML that runs what is published there."""

import json
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from orchestrator_marketplace.bundle_artifacts import build_bundle, open_bundle
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signatures import Signer, sign_bundle
from orchestrator_marketplace.signing_keys import load_private_key, write_key_pair
from orchestrator_marketplace.transfers import push_bundle
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.locks import Lock
from orchestrator_sensors import PublishedAgentComponent
from tests.unit.marketplace.written_bundles import LOCK, write_bundle

PORTABLE = "{name: reviewer, instructions: Review., model: smollm2}"


class Publisher:
    """Somebody who signs and pushes versions of agents of acme.

    Args:
        folder: Of keys and bundles; empty.
        registry: Where to, with a prefix.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self._folder, self.registry = folder, registry
        self.trust = folder / "trust"
        self.trust.mkdir()
        write_key_pair(folder / "acme.key", self.trust / "acme.pub")
        (self.trust / "trust.yaml").write_text("publishers: {acme: {keys: [acme.pub]}}\n")

    def publish(
        self,
        version: str,
        *,
        signed: bool = True,
        gets: str = "text",
        framework: str = "fake",
        days: int = 365,
        lock: Lock | None = None,
        code: str | None = None,
        agent: str = "reviewer",
        portable: str | None = None,
    ) -> str:
        """Publish a version, and return its digest.

        Args:
            version: Which.
            signed: Whether the publisher signs it.
            gets: Name of its only input.
            framework: What it is for.
            days: For how long the signature holds.
            lock: Of a runtime profile; None where the framework alone is enough.
            code: Of `agent.py`, whose `build` is the agent unless it is portable; None for a portable one.
            agent: Which of acme's agents it is.
            portable: What a portable agent is; None is one without tools, where there is no code.
        """
        if code is None and portable is None:
            portable = PORTABLE
        source = write_bundle(
            self._folder / agent / version / "source",
            name=f"acme/{agent}",
            version=version,
            framework=framework,
            entrypoint="null" if portable is not None else "agent:build",
            portable=portable or "null",
            profile="null" if lock is None else "reading.toml",
            inputs=f"{{type: object, properties: {{{gets}: {{type: string}}}}, required: [{gets}]}}",
            output="null",
        )
        (source / "evaluation.jsonl").write_text(json.dumps({"name": "one", "inputs": {gets: "MIT"}}) + "\n")
        if code is not None:
            (source / "agent" / "agent.py").write_text(code)
        layout = Layout(self._folder / agent / version / "layout")
        entry = build_bundle(read_folder(source), lock or LOCK, layout)
        if signed:
            signer = Signer(key=load_private_key(self._folder / "acme.key"))
            sign_bundle(layout, open_bundle(layout, entry), signer, datetime.now(UTC), days=days)
        reference = parse_reference(f"{self.registry}/acme/{agent}:{version}")
        with Repository(reference) as repository:
            push_bundle(layout, entry, repository)
        return entry.digest

    def withdraw(self, version: str) -> None:
        """Delete a version from the registry."""
        place = parse_reference(f"{self.registry}/acme/reviewer:{version}")
        with Repository(place) as repository:
            content = repository.manifest(version)
        assert content is not None
        url = f"http://{place.registry}/v2/{place.repository}/manifests/{digest_of(content)}"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10) as answer:
            assert answer.status == 202


def publisher_of_test(folder: Path, registry: str) -> Publisher:
    """Return a publisher with a prefix of its own in a registry that other tests use, too.

    Args:
        folder: Of the test; gets a folder `publisher`.
        registry: Its host.
    """
    made = folder / "publisher"
    made.mkdir()
    return Publisher(made, f"{registry}/{folder.name.replace('_', 'x').strip('x').lower()}")


class Location:
    """Definitions of published agents, and an instance in which they are looked at and run.

    Args:
        trust: Folder of the file of publishers.
        instance: Where runs are kept.
        url: Of the model.
        network: Of guests.
        more: Further assets.
        changes: Of the component's attributes: the registry or the marketplace, and more.
    """

    def __init__(
        self,
        trust: Path,
        instance: dg.DagsterInstance,
        url: str,
        *more: dg.AssetsDefinition,
        network: Literal["open", "gateway"] = "open",
        **changes: Any,
    ) -> None:
        attributes: dict[str, Any] = {
            **({} if "bundles" in changes else {"bundle": "acme/reviewer"}),
            "framework": "fake",
            "trust": "trust.yaml",
            "inputs": {"text": {"value": "hello"}},
            "prompt": "say {text}",
            "retries": {"max": 0},
            "asset": {"key": "team/reviews"},
            **changes,
        }
        made = PublishedAgentComponent.resolve_from_dict(attributes).made_in(trust)
        resources = {"agent_runtimes": AgentRuntimes(model_url=url, processes=1, network=network)}
        self.definitions = dg.Definitions(
            assets=[*(made.assets or ()), *more], sensors=made.sensors, resources=resources
        )
        self.instance = instance
        self.cursors: dict[str, str | None] = {}
        self.told = ""

    def look(self, name: str = "team__reviews_publishes") -> list[dg.RunRequest]:
        """Let a sensor look once as the daemon does: store its events and its cursor, and return what it asks for."""
        (sensor,) = [one for one in self.definitions.sensors or () if one.name == name]
        assert isinstance(sensor, dg.SensorDefinition)
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            repository_def=repository,
            sensor_name=sensor.name,
        ) as context:
            tick = sensor.evaluate_tick(context)
        for event in tick.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursors[name], self.told = tick.cursor, tick.skip_message or ""
        return list(tick.run_requests or ())

    def run(self, tags: Mapping[str, str] | None = None, *assets: str) -> dg.ExecuteInProcessResult:
        """Run the asset, or others."""
        keys = assets or ("team/reviews",)
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey.from_user_string(key) for key in keys],
            tags=dict(tags or {}),
            raise_on_error=False,
        )
