"""n8n as its documentation runs it: workflows imported and published by its command line, called by their webhooks."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.frameworks import AGENTS, BENCHMARKS, Framework
from benchmarks.sides import Side, SideFailed, side_process
from orchestrator_n8n.start import SETTINGS, prepare
from orchestrator_runtimes.guest_commands import PASSED_ENVIRONMENT

_PLACES: Final = ("N8N_ENCRYPTION_KEY", "N8N_PORT", "N8N_RUNNERS_BROKER_PORT", "N8N_USER_FOLDER")

_OURS_ALONE: Final = ("EXECUTIONS_DATA_", "N8N_EXPRESSION_ENGINE")
"""Beginnings of the settings that the stock server does not get, since they decide what is measured: it saves its
executions and evaluates expressions as is its default."""

_COMMAND_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class StockN8n:
    """A user folder with published workflows, and how a server of it is started."""

    folder: Path
    words: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def in_folder(cls, framework: Framework, folder: Path) -> "StockN8n":
        """Return how n8n is started by itself, with the program and the settings of a guest; nothing runs yet."""
        start = prepare(["--listen", "unix:none", "--folder", str(folder)], framework.python.parents[1])
        shared = [name for name in SETTINGS if not name.startswith(_OURS_ALONE)]
        return cls(
            folder=folder,
            words=start.words,
            environment={
                **{name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ},
                **{name: start.environment[name] for name in (*_PLACES, *shared)},
                "HOME": str(folder),
                "TMPDIR": str(folder),
            },
        )

    def command(self, *words: str) -> None:
        """Run a command of n8n's command line to its end.

        Raises:
            SideFailed: It ended with an error, or took too long.
        """
        program = self.words[:-1]  # without `start`
        try:
            done = subprocess.run(
                [*program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=self.folder,
                env=self.environment,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SideFailed(f"n8n {words[0]} did not end in {_COMMAND_SECONDS:.0f} s") from error
        if done.returncode != 0:
            said = "\n".join(done.stdout.splitlines()[-15:])
            raise SideFailed(f"n8n {words[0]} ended with {done.returncode}; it said last:\n{said}")


@contextmanager
def stock_n8n(framework: Framework, endpoint: str, workflows: Sequence[str]) -> Generator[StockN8n]:
    """Make a user folder in which workflows of `agents/` are published, with a credential for the endpoint.

    Args:
        framework: n8n.
        endpoint: Base URL of the model endpoint.
        workflows: Names of the files, without their ends; they become the ids.

    Raises:
        SideFailed: n8n's command line refuses.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        stock = StockN8n.in_folder(framework, folder)
        exports = folder / "workflows"
        exports.mkdir()
        for name in workflows:
            (exports / f"{name}.json").write_text(json.dumps({**workflow(name), "id": name}))
        credentials = folder / "credentials.json"
        credentials.write_text(json.dumps([credential(endpoint)]))
        stock.command("import:credentials", f"--input={credentials}")
        stock.command("import:workflow", "--separate", f"--input={exports}")
        for name in workflows:
            stock.command("publish:workflow", f"--id={name}")
        yield stock


@contextmanager
def stock_side(stock: StockN8n, name: str, in_flight: int) -> Generator[Side]:
    """Start a server of a user folder, and a client that sends the webhook of a workflow `in_flight` calls at once."""
    path = webhook_path(workflow(name))
    words = [sys.executable, "-m", "benchmarks.stock_process"]
    words += ["--webhook", path, "--in-flight", str(in_flight), "--", *stock.words]
    environment = {**stock.environment, "PYTHONPATH": f"{BENCHMARKS.parent}"}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        side_process("n8n, stock", words, environment, Path(folder)) as side,
    ):
        yield side


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow under test, as it was exported."""
    return dict(json.loads((AGENTS / f"{name}.json").read_text()))


def webhook_path(exported: Mapping[str, Any]) -> str:
    """Return the path of the webhook that a workflow begins with."""
    return str(exported["nodes"][0]["parameters"]["path"])


def credential(endpoint: str) -> dict[str, Any]:
    """Return the credential that the workflows name, as n8n imports it."""
    data = {"apiKey": "not-a-key", "url": endpoint, "header": False, "allowedHttpRequestDomains": "all"}
    return {"id": "scripted", "name": "scripted", "type": "openAiApi", "data": data}
