"""`orchestrator bundle`, as a person uses it: from a first folder to an installed bundle; refusals in a line."""

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator_marketplace.refusals import Refusal
from tests.integration.bundle_registries import real_registry
from tests.integration.command_lines import refused, run, succeeds
from tests.integration.how_tos import HOW_TO
from tests.unit.marketplace.certificates import certificate, new_key, pem
from tests.unit.marketplace.written_bundles import write_bundle


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as name:
        yield name


def bundle(*words: str, folder: Path) -> str:
    return succeeds("orchestrator", "bundle", *words, folder=folder)


def trust(folder: Path, **keys: str) -> Path:
    lines = [f"  {name}: {{keys: [{key}]}}\n" for name, key in keys.items()]
    (folder / "trust.yaml").write_text("".join(["publishers:\n", *lines]))
    return folder / "trust.yaml"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a bundle that is built and signed, its key, and who trusts it."""
    write_bundle(tmp_path / "reviewer")
    bundle("build", "reviewer", folder=tmp_path)
    bundle("key", "acme.key", folder=tmp_path)
    bundle("sign", "reviewer/dist", "--key", "acme.key", "--source", "https://git.example/a", folder=tmp_path)
    trust(tmp_path, acme="acme.key.pub")
    return tmp_path


def test_from_a_first_folder_to_an_installed_bundle(tmp_path: Path, registry: str) -> None:
    assert "clock/agent/agent.py" in bundle("init", "acme/clock", folder=tmp_path)
    assert "acme/clock 0.1.0: is a bundle; evaluation cases: 1" in bundle("check", "clock", folder=tmp_path)
    digest = bundle("build", "clock", folder=tmp_path).split()[2]
    assert bundle("build", "clock", "--output", "elsewhere", folder=tmp_path).split()[2] == digest
    bundle("key", "acme.key", folder=tmp_path)
    bundle("sign", "clock/dist", "--key", "acme.key", "--days", "30", folder=tmp_path)
    trust(tmp_path, acme="acme.key.pub")
    shown = json.loads(bundle("inspect", "clock/dist", "--trust", "trust.yaml", "--json", folder=tmp_path))
    assert (shown["name"], shown["publisher"], shown["digest"]) == ("acme/clock", "acme", digest)
    assert shown["packages"] > 20 and shown["parts"]["sbom.cdx.json"] > 1_000
    said = bundle("push", "clock/dist", f"{registry}/first", folder=tmp_path)
    assert said.startswith(f"{registry}/first/acme/clock:0.1.0@{digest}: 9 parts sent")
    said = bundle(
        "pull",
        f"{registry}/first/acme/clock:0.1.0",
        "--to",
        "agents",
        "--trust",
        "trust.yaml",
        folder=tmp_path,
    )
    assert said.strip() == f"{digest} of acme, installed in agents/acme/clock/0.1.0"
    assert (tmp_path / "agents/acme/clock/0.1.0/agent/agent.py").is_file()


def test_code_of_a_bundle_is_never_imported(made: Path, registry: str) -> None:
    """Its code ends the process that imports it."""
    bundle("check", "reviewer", folder=made)
    assert "name" in bundle("inspect", "reviewer/dist", folder=made)
    bundle("push", "reviewer/dist", f"{registry}/never", folder=made)
    address = f"{registry}/never/acme/reviewer:1.2.0"
    bundle("pull", address, "--to", "agents", "--trust", "trust.yaml", folder=made)


def test_what_is_refused_is_told_in_a_line(made: Path, registry: str) -> None:
    bundle("push", "reviewer/dist", f"{registry}/told", folder=made)
    address = f"{registry}/told/acme/reviewer:1.2.0"
    words = ("orchestrator", "bundle", "pull", address, "--to", "agents", "--trust", "trust.yaml")
    bundle("key", "other.key", folder=made)
    trust(made, other="acme.key.pub", acme="other.key.pub")
    assert "Error: squatted: " in refused(*words, folder=made)
    trust(made, other="other.key.pub")
    assert "Error: unsigned: " in refused(*words, folder=made)
    assert "agents" in [path.name for path in made.iterdir()]
    assert [path.name for path in (made / "agents").iterdir()] == [".fetching"]
    trust(made, acme="acme.key.pub")
    bundle(*words[2:], folder=made)
    write_bundle(made / "reviewer", version="1.1.0")
    bundle("build", "reviewer", "--output", "lower", folder=made)
    bundle("sign", "lower", "--key", "acme.key", folder=made)
    bundle("push", "lower", f"{registry}/told", folder=made)
    lower = [*words[:3], address.replace("1.2.0", "1.1.0"), *words[4:]]
    assert "Error: rolled_back: acme/reviewer 1.1.0 is lower than 1.2.0" in refused(*lower, folder=made)
    assert "agents/acme/reviewer/1.1.0" in bundle(*lower[2:], "--allow-lower", folder=made)
    assert "is no address" in refused("orchestrator", "bundle", "push", "lower", "nowhere", folder=made)
    assert "there is none" in refused(*words[:3], f"{registry}/told/acme/x:1.0.0", *words[4:], folder=made)


def test_a_layout_that_was_changed_is_told(made: Path) -> None:
    blobs = sorted((made / "reviewer/dist/blobs/sha256").iterdir(), key=lambda file: file.stat().st_size)
    blobs[-1].write_bytes(b"x" * blobs[-1].stat().st_size)
    assert "Error: tampered: " in refused("orchestrator", "bundle", "inspect", "reviewer/dist", folder=made)


def test_a_profile_is_part_of_a_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "reviewer", profile="research.toml")
    profile = tmp_path / "reviewer" / "research.toml"
    words = ("orchestrator", "bundle", "check", "reviewer")
    assert "research.toml' does not exist" in refused(*words, folder=tmp_path)
    profile.write_text('framework = "agno"\nrequirements = []\n')
    assert "research.lock is missing: run" in refused(*words, folder=tmp_path)


def test_a_certificate_stands_for_a_key(made: Path) -> None:
    (made / "wrong.pem").write_text("x")
    words = (
        "orchestrator",
        "bundle",
        "sign",
        "reviewer/dist",
        "--key",
        "acme.key",
        "--certificate",
        "wrong.pem",
    )
    assert "is no certificate" in refused(*words, folder=made)
    (made / "wrong.pem").write_bytes(pem(certificate(new_key(), new_key())))
    assert "is of another key" in refused(*words, folder=made)


def test_a_tenants_policy_decides(made: Path, registry: str) -> None:
    bundle("push", "reviewer/dist", f"{registry}/policy", folder=made)
    (made / "policy.yaml").write_text("tenants: {alpha: {permissions: ['mcp:orders']}}\n")
    (made / "advisories").mkdir()
    record = {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z"}
    (made / "advisories" / "1.json").write_text(json.dumps(record))
    given = (
        "--trust",
        "trust.yaml",
        "--policy",
        "policy.yaml",
        "--tenant",
        "alpha",
        "--advisories",
        "advisories",
    )
    words = ("pull", f"{registry}/policy/acme/reviewer:1.2.0", "--to", "agents", *given)
    said = refused("orchestrator", "bundle", *words, folder=made)
    assert "policy: acme/reviewer 1.2.0 sha256:" in said and "not allowed: sessions" in said
    done = run("orchestrator", "bundle", "decide", "reviewer/dist", *given, folder=made)
    assert (
        done.returncode == 1
        and "  no  permissions: asks for mcp:orders, sessions; not allowed" in done.stdout
    )
    (made / "policy.yaml").write_text("tenants: {alpha: {permissions: ['*']}}\n")
    assert "is allowed for alpha" in bundle("decide", "reviewer/dist", *given, folder=made)
    assert "installed in agents/acme/reviewer/1.2.0" in bundle(*words, folder=made)
    assert run("orchestrator", "bundle", *words[:-4], folder=made).returncode == 2


def test_the_how_to_is_what_happens(tmp_path: Path, registry: str) -> None:
    page = (HOW_TO / "publish-a-bundle.md").read_text()
    for name, text in re.findall(r"<!-- bundle: (\S+) -->\n```yaml\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    (tmp_path / "advisories").mkdir()
    record = {"id": "GHSA-1", "modified": datetime.now(UTC).isoformat()}
    (tmp_path / "advisories" / "1.json").write_text(json.dumps(record))
    said = ""
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line.replace("registry.example", registry))
            said += succeeds(*words, folder=tmp_path)
    assert "is allowed for alpha" in said and said.rstrip().endswith("installed in agents/acme/clock/0.1.0")
    named = set(
        re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.partition("## What is refused")[2], re.MULTILINE)
    )
    assert {word for cell in named for word in re.findall(r"\w+", cell)} == {one.value for one in Refusal}
