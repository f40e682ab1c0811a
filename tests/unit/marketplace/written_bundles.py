"""Bundles that tests write: a folder as a person has it, and what is made of it."""

from pathlib import Path
from typing import Final

from orchestrator_marketplace.bundle_artifacts import build_bundle
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import Descriptor
from orchestrator_runtimes.locks import Lock, NodeLock

HASH: Final = "0" * 64
LOCK: Final = Lock(
    python=f"# two packages\nidna==3.4 \\\n    --hash=sha256:{HASH}\n"
    f"requests==2.31.0 ; python_version < '4' \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n"
)
NODE_LOCK: Final = Lock(
    python=LOCK.python,
    node=NodeLock(
        package="{}",
        lock='{"lockfileVersion": 3, "packages": {"": {"name": "guest"}, "node_modules/ws": {"version": "8.17.0"},'
        ' "node_modules/a/node_modules/@s/b": {"version": "1.0.0"}, "node_modules/l": {"link": true}}}',
    ),
)
MANIFEST: Final = """\
bundle: 1
name: acme/reviewer
version: 1.2.0
summary: Reads a licence
licence: Apache-2.0
framework: langgraph
entrypoint: agent:build
inputs: {type: object, properties: {text: {type: string}}, required: [text]}
output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}
tools: [{name: lookup, description: Looks up, effects: true}]
models: [smollm2]
resources: {memory_mb: 512}
permissions: {network: gateway, mcp_servers: [orders], sessions: true}
"""
FILES: Final = {
    "bundle.yaml": MANIFEST,
    "agent/agent.py": "raise SystemExit('a bundle was imported on the trusted side')\n",
    "agent/parts/words.txt": "words\n",
    "README.md": "# Reviewer\n",
    "evaluation.jsonl": '{"name": "one", "inputs": {"text": "MIT"}, "output": {"ok": true}}\n',
}


def write_bundle(folder: Path, **changed: str) -> Path:
    """Write a bundle; `changed` replaces texts of its manifest: `version="1.2.1"`."""
    manifest = MANIFEST
    for key, value in changed.items():
        lines = [line for line in manifest.splitlines() if not line.startswith(f"{key}:")]
        manifest = "\n".join([*lines, f"{key}: {value}"]) + "\n"
    for path, text in {**FILES, "bundle.yaml": manifest}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def built(folder: Path, lock: Lock = LOCK, **changed: str) -> tuple[Layout, Descriptor]:
    """Write a bundle below a folder, and build it."""
    layout = Layout(folder / "layout")
    return layout, build_bundle(read_folder(write_bundle(folder / "source", **changed)), lock, layout)
