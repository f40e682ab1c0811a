"""`orchestrator bundle init`: a folder that is a bundle already, to be changed into one's own."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from orchestrator_marketplace.folders import CODE, DOCUMENTATION, EVALUATION, MANIFEST
from orchestrator_marketplace.names import BundleName
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.profiles import FrameworkProfile

_MANIFEST: Final = """\
bundle: 1
name: {name}
version: 0.1.0
summary: Tells the time
licence: Apache-2.0
framework: {framework}
entrypoint: {entrypoint}
inputs:
  type: object
  properties: {{prompt: {{type: string}}}}
  required: [prompt]
tools:
  - {{name: current_time, description: Tell the current time in UTC}}
models: [smollm2]
permissions: {{network: gateway}}
"""
_DOCUMENTATION: Final = """\
# {name}

An agent that tells the time, written in {title}. Say here what yours does, for whom, and what it cannot do.
"""
_EVALUATION: Final = '{"name": "asks for the time", "inputs": {"prompt": "What time is it?"}}\n'


def write_starter(folder: Path, name: BundleName, framework: FrameworkProfile) -> list[Path]:
    """Write a bundle's folder and return its files.

    Raises:
        BundleRefused: `malformed` when there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleRefused(Refusal.MALFORMED, f"{folder}: is there already: name a folder that is not")
    file = framework.template
    entrypoint = file if framework.entrypoint == "file" else f"{Path(file).stem}:agent"
    texts = {
        MANIFEST: _MANIFEST.format(name=name, framework=framework.name, entrypoint=entrypoint),
        f"{CODE}/{file}": files(framework.package).joinpath("templates", file).read_text(),
        DOCUMENTATION: _DOCUMENTATION.format(name=name, title=framework.title),
        EVALUATION: _EVALUATION,
    }
    (folder / CODE).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        (folder / path).write_text(text)
    return [folder / path for path in texts]
