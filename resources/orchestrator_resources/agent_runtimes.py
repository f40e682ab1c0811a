"""The Dagster resource that agent assets run with."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtimes import Runtimes, RuntimeSettings, open_runtimes
from orchestrator_runtimes.messages import ModelAddress


class AgentRuntimes(dg.ConfigurableResource["AgentRuntimes"]):
    """Runs agents, each in its framework's own environment; guests live as long as the Dagster step or run needs them."""

    model_url: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint, up to and with /v1. None means ORCHESTRATOR_MODEL_URL, and where that is"
        " not set either, the embedded model.",
    )
    model_key: str | None = Field(
        default=None,
        description="Bearer token for model_url; use EnvVar. None means ORCHESTRATOR_MODEL_KEY, or none.",
    )
    processes: int | None = Field(
        default=None,
        gt=0,
        description="Most guest processes of one runtime at once; None means one for each core.",
    )
    max_executions: int = Field(
        default=200, gt=0, le=1_000, description="Most executions at once in one guest process."
    )
    memory_mb: int | None = Field(
        default=None,
        gt=0,
        description="Limit of one guest's data in MiB; None sets none. A guest above it crashes.",
    )

    _runtimes: Runtimes | None = PrivateAttr(default=None)

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["AgentRuntimes"]:
        """Open the runtimes for a step or a run; end every guest after it."""
        instance = context.instance
        state = Path(instance.storage_directory()) if instance is not None else home_folder() / "state"
        log = context.log
        settings = RuntimeSettings(
            home=home_folder(),
            state=state / "agents",
            processes=self.processes,
            max_executions=self.max_executions,
            memory_mb=self.memory_mb,
        )
        tell = log.info if log is not None else print
        with open_runtimes(settings, model=self._address(), tell=tell) as runtimes:
            self._runtimes = runtimes
            yield self

    @property
    def runtimes(self) -> Runtimes:
        """The open runtimes; only inside a step."""
        if self._runtimes is None:
            raise RuntimeError("agent runtimes are open only while a step runs")
        return self._runtimes

    def _address(self) -> ModelAddress | None:
        url = self.model_url or os.environ.get("ORCHESTRATOR_MODEL_URL")
        key = self.model_key or os.environ.get("ORCHESTRATOR_MODEL_KEY")
        return ModelAddress(base_url=url, api_key=key) if url else None


AGENT_RUNTIMES = AgentRuntimes()
"""What agent assets use unless a project binds its own: one object, since Dagster merges resources by identity."""
