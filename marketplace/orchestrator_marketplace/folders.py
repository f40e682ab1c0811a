"""A bundle as people write it: a folder. Nothing in it is imported or run here.

bundle.yaml        the manifest
agent/             the code, which only guests load
README.md          the documentation
evaluation.jsonl   the evaluation cases
NAME.toml, .lock   the runtime profile, where the manifest names one
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_marketplace.code_archives import file_names, pack_code
from orchestrator_marketplace.evaluations import EvaluationCase, parse_cases
from orchestrator_marketplace.layouts import read_file
from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.strict_yaml import LONGEST_BYTES, parse_yaml
from orchestrator_runtimes.profiles import FrameworkProfile

MANIFEST: Final = "bundle.yaml"
CODE: Final = "agent"
DOCUMENTATION: Final = "README.md"
EVALUATION: Final = "evaluation.jsonl"

DOCUMENTATION_BYTES: Final = 1 * 2**20
EVALUATION_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class BundleContents:
    """What a bundle holds beside the environment that it runs in.

    Attributes:
        manifest: What it says of itself.
        code: The agent's code as a tar.
        documentation: Markdown, UTF-8.
        evaluation: JSON lines.
    """

    manifest: Manifest
    code: bytes
    documentation: bytes
    evaluation: bytes

    def cases(self) -> tuple[EvaluationCase, ...]:
        """Return the evaluation cases."""
        return parse_cases(self.evaluation, self.manifest)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        BundleRefused: With the file, and the line or the key.
    """
    return parse_yaml(Manifest, read_file(folder / MANIFEST, LONGEST_BYTES), MANIFEST)


def read_folder(folder: Path) -> BundleContents:
    """Return what a folder holds, of which every part is checked.

    Raises:
        BundleRefused: With the file and what to change.
    """
    contents = BundleContents(
        manifest=read_manifest(folder),
        code=pack_code(folder / CODE),
        documentation=read_file(folder / DOCUMENTATION, DOCUMENTATION_BYTES),
        evaluation=read_file(folder / EVALUATION, EVALUATION_BYTES),
    )
    check_contents(contents)
    return contents


def check_contents(contents: BundleContents) -> None:
    """Refuse contents whose parts do not belong together.

    Raises:
        BundleRefused: With what is missing where.
    """
    names = frozenset(file_names(contents.code))
    for module in contents.manifest.modules():
        path = module.replace(".", "/")
        if not {f"{path}.py", f"{path}/__init__.py"} & names:
            raise BundleRefused(
                Refusal.MALFORMED,
                f"{MANIFEST}: names the module {module!r:.80}; write it as {CODE}/{path}.py",
            )
    entrypoint = contents.manifest.entrypoint
    if entrypoint is not None and ":" not in entrypoint and entrypoint not in names:
        raise BundleRefused(
            Refusal.MALFORMED, f"{MANIFEST}: names the file {entrypoint!r:.80}, which {CODE}/ has not"
        )
    try:
        told = contents.documentation.decode()
    except UnicodeDecodeError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{DOCUMENTATION}: is no UTF-8") from error
    if not told.strip():
        raise BundleRefused(
            Refusal.MALFORMED, f"{DOCUMENTATION}: is empty: say what the agent does, and for whom"
        )
    if not contents.cases():
        raise BundleRefused(
            Refusal.MALFORMED,
            f'{EVALUATION}: holds no case: write one, such as {{"name": "one", "inputs": {{…}}}}',
        )


def check_framework(manifest: Manifest, framework: FrameworkProfile) -> None:
    """Refuse an entrypoint that is not of its framework's kind.

    Raises:
        BundleRefused: `malformed`.
    """
    entrypoint = manifest.entrypoint
    wants_file = framework.entrypoint == "file"
    if entrypoint is not None and wants_file == (":" in entrypoint):
        wanted = f"a file of {CODE}/" if wants_file else "module:attribute"
        raise BundleRefused(
            Refusal.MALFORMED,
            f"{MANIFEST}: entrypoint: {framework.title} takes {wanted}, not {entrypoint!r:.80}",
        )
