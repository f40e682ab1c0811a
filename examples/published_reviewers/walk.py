"""`make published`: an agent in three frameworks is published, arrives, runs, is upgraded, and is withdrawn.

A registry, a marketplace, PostgreSQL, a code server and `orchestrator daemon` run on this machine meanwhile. The
tenant's location is managed: the folder `location`, in which there is nothing but YAML.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import dagster as dg
import psycopg

from orchestrator_resources.homes import home_folder
from orchestrator_sensors.catalogue import Catalogued, catalogued
from orchestrator_sensors.published_agents import BUNDLE_TAG
from storms.counts import told_seen
from storms.platforms import BIN, Platform
from storms.publishers import StormPublisher

HERE: Final = Path(__file__).parent
FRAMEWORKS: Final = ("langgraph", "agno", "lightagent")
PLACE: Final = "https://marketplace.example"
"""What the location calls the marketplace, which has another address here."""

_MOST_SECONDS: Final = 240.0
_PAUSE_SECONDS: Final = 0.5
_SUCCEEDED: Final = """
SELECT count(*) FROM run_tags AS tags JOIN runs USING (run_id)
WHERE tags.key = %s AND tags.value LIKE %s AND runs.status = %s
"""


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


class Walk:
    """The story, told while it happens.

    Args:
        folder: Of everything; empty.
        model: Base URL of a model; None starts the embedded one.
    """

    def __init__(self, folder: Path, model: str | None) -> None:
        """Write everything down; start nothing."""
        home = folder / "home"
        home.mkdir()
        (home / "environments").symlink_to(home_folder() / "environments")
        self.location = folder / "location"
        self.platform = Platform(
            folder,
            [],
            daemons=1,
            variables={} if model is None else {"ORCHESTRATOR_MODEL_URL": model},
            runs=True,
            managed=self.location,
        )
        shutil.copytree(HERE / "location", self.location)
        shutil.copy(folder / "trust" / "acme.pub", self.location / "reviews")
        written = self.location / "reviews" / "defs.yaml"
        written.write_text(written.read_text().replace(PLACE, self.platform.market_url))
        self.publisher = StormPublisher(self.platform, folder / "publisher")
        self.bundles = folder / "written"

    def publish(self, framework: str, version: str) -> None:
        """Publish the agent for a framework, and return when its run has succeeded."""
        agent = f"{framework}-reviewer"
        source = self.bundles / framework / version
        shutil.copytree(HERE / "bundle", source)
        manifest = source / "bundle.yaml"
        manifest.write_text(manifest.read_text().replace("FRAMEWORK", framework).replace("VERSION", version))
        began = time.monotonic()
        self.publisher.submit(agent, version, self.publisher.push(source, agent, version))
        self.publisher.approve(agent, version)
        self._until(
            lambda: self._runs(f"%/acme/{agent}:{version}@%", "SUCCESS") > 0,
            f"{agent} {version} has run",
            lambda: self._runs(f"%/acme/{agent}:{version}@%", "FAILURE") > 0,
        )
        say(f"acme/{agent} {version} was published and has run, {time.monotonic() - began:.0f} s later")

    def withdraw(self, framework: str, version: str) -> None:
        """Withdraw a version, and return when nothing runs it any more."""
        agent = f"{framework}-reviewer"
        self.publisher.withdraw(agent, version)
        key = dg.AssetKey(["acme", "reviews", "bundles", "acme", agent])
        self._until(lambda: version in self._known(key).withdrawn, f"{agent} {version} is known as withdrawn")
        say(f"acme/{agent} {version} was withdrawn; {self._known(key).newest} runs from now on")

    def lineage(self, framework: str) -> str:
        """Return where the newest review of a framework comes from."""
        done = subprocess.run(
            [BIN / "orchestrator", "lineage", f"acme/reviews/{framework}"],
            env=dict(self.platform.environment),
            capture_output=True,
            text=True,
            check=True,
            timeout=_MOST_SECONDS,
        )
        return done.stdout

    def tell(self) -> None:
        """Do all of it."""
        self.platform.start()
        self.publisher.register()
        self._until(
            lambda: len(told_seen(self.platform.database)) == len(FRAMEWORKS), "every sensor has looked once"
        )
        say("three assets wait for the agent: acme/reviews/langgraph, agno, lightagent")
        for version in ("1.0.0", "1.1.0"):
            for framework in FRAMEWORKS:
                self.publish(framework, version)
        say(self.lineage("langgraph"))
        self.withdraw("langgraph", "1.1.0")
        say("published 6, ran 6, withdrawn 1")

    def close(self) -> None:
        """End everything."""
        self.publisher.close()
        self.platform.close()

    def _runs(self, publish: str, status: str) -> int:
        with psycopg.connect(self.platform.database) as connection:
            row = connection.execute(_SUCCEEDED, [BUNDLE_TAG, publish, status]).fetchone()
        return 0 if row is None else int(row[0])

    def _known(self, key: dg.AssetKey) -> Catalogued:
        with dg.DagsterInstance.from_config(str(self.platform.home)) as instance:
            return catalogued(instance, key)

    def _until(
        self, condition: Callable[[], bool], what: str, failed: Callable[[], bool] = lambda: False
    ) -> None:
        until = time.monotonic() + _MOST_SECONDS
        while not condition():
            if failed() or time.monotonic() > until:
                logs = "\n".join(service.log()[-2_000:] for service in self.platform.services)
                raise RuntimeError(f"not so: {what}\n{logs}")
            time.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="examples.published_reviewers.walk", description=__doc__)
    parser.add_argument(
        "--model", default=os.environ.get("ORCHESTRATOR_MODEL_URL"), help="base URL of a model"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="published-") as folder:
        walk = Walk(Path(folder), options.model)
        try:
            walk.tell()
        finally:
            walk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
