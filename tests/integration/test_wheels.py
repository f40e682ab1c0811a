"""What is released: sdists, the wheels that are built from them, and all of those in a clean environment."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.profiles import installed_frameworks
from orchestrator_tools.sources import repository_files
from tests.integration.command_lines import BIN

CHECKOUT = Path(__file__).parents[2]
FRAMEWORKS = sorted(installed_frameworks())
PACKAGES = {
    ".": (
        "orchestrator_defs",
        "assets/orchestrator_assets",
        "cluster/orchestrator_cluster",
        "resources/orchestrator_resources",
        "sensors/orchestrator_sensors",
        "tenancy/orchestrator_tenancy",
    ),
    "runtimes/contract": ("orchestrator_runtimes",),
    "gateway": ("orchestrator_gateway",),
    "marketplace": ("orchestrator_marketplace",),
    **{f"runtimes/{name}": (f"orchestrator_{name}",) for name in FRAMEWORKS},
}
ADAPTERS = tuple(f"orchestrator_{name}." for name in FRAMEWORKS)
ELSEWHERE = {
    "orchestrator_resources.embedded_model.server": "front",
    "orchestrator_gateway.call_spans": "opentelemetry",
    "orchestrator_gateway.execution_spans": "opentelemetry",
    "orchestrator_gateway.opentelemetry_export": "opentelemetry",
    "orchestrator_gateway.opentelemetry_instruments": "opentelemetry",
    "orchestrator_gateway.trace_contexts": "opentelemetry",
    "orchestrator_gateway.postgres_database": "psycopg",
    "orchestrator_gateway.postgres_journal": "psycopg",
    "orchestrator_gateway.postgres_ledger": "psycopg",
    "orchestrator_marketplace.event_streams": "redis",
    "orchestrator_marketplace.postgres_database": "psycopg",
    "orchestrator_resources.postgres_state": "psycopg",
    "orchestrator_cluster.api_answers": "kubernetes",
    "orchestrator_cluster.code_servers": "kubernetes",
    "orchestrator_cluster.kube_configurations": "kubernetes",
    "orchestrator_cluster.job_starts": "kubernetes",
    "orchestrator_cluster.one_daemon": "psycopg",
    "orchestrator_cluster.patient_storage": "dagster_postgres",
    "orchestrator_cluster.run_jobs": "dagster_k8s",
    "orchestrator_cluster.run_launcher": "dagster_k8s",
    "orchestrator_cluster.run_watch": "dagster_k8s",
    "orchestrator_tenancy.drift": "kubernetes",
    "orchestrator_tenancy.releases": "kubernetes",
    "orchestrator_cluster.warm_jobs": "dagster_k8s",
    "orchestrator_cluster.warm_keeper": "dagster_k8s",
    "orchestrator_cluster.warm_launches": "dagster_k8s",
    "orchestrator_tenancy.tenant_deletion": "joserfc",
    "orchestrator_tenancy.keys.key_secrets": "kubernetes",
    "orchestrator_tenancy.tenant_secrets": "kubernetes",
    "orchestrator_tenancy.secret_drift": "kubernetes",
    "orchestrator_sensors.openlineage_events": "openlineage",
    "orchestrator_tenancy.sign_in.administration": "joserfc",
    "orchestrator_tenancy.sign_in.api_tokens": "joserfc",
    "orchestrator_tenancy.sign_in.attempts": "joserfc",
    "orchestrator_tenancy.sign_in.id_tokens": "authlib",
    "orchestrator_tenancy.sign_in.identification": "joserfc",
    "orchestrator_tenancy.sign_in.listings": "joserfc",
    "orchestrator_tenancy.sign_in.parts": "joserfc",
    "orchestrator_tenancy.sign_in.provider": "authlib",
    "orchestrator_tenancy.sign_in.provider_facts": "joserfc",
    "orchestrator_tenancy.sign_in.routes": "joserfc",
    "orchestrator_tenancy.sign_in.sealing": "joserfc",
    "orchestrator_tenancy.sign_in.sessions": "joserfc",
    "orchestrator_tenancy.sign_in.stores": "joserfc",
    "orchestrator_tenancy.sign_in.tenant_choice": "joserfc",
    "orchestrator_tenancy.sign_in.wrapper": "joserfc",
}
"""A script that runs in an environment of its own, and what comes with an extra; and what they miss here."""

OF_THIS_SESSION = re.compile("PYTHON|PYTEST|COVERAGE|COV_|VIRTUAL_ENV|ORCHESTRATOR|DAGSTER_HOME")
SECONDS = 300

IMPORT_ALL = """\
import importlib, json, pathlib, pkgutil, sys
found, missing = {}, {}
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if module.name.endswith(".__main__"):
            continue
        try:
            found[module.name] = importlib.import_module(module.name).__file__
        except ModuleNotFoundError as error:
            missing[module.name] = error.name
print(json.dumps([found, missing]))
"""

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A distribution: where its sources are, its sdist, and the wheel that was built from that."""

    sources: Path
    packages: tuple[Path, ...]
    sdist: Path
    wheel: Path


def clean(*words: str | Path, folder: Path, **environment: str) -> str:
    """Run a program without what this session set, and return what it printed."""
    own = {name: value for name, value in os.environ.items() if not OF_THIS_SESSION.match(name)}
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env={**own, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    return done.stdout


def build(source: str, folder: Path) -> Built:
    """Build the sdist, and the wheel from the sdist."""
    folder.mkdir()
    clean(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, CHECKOUT / source, folder=folder
    )
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    sources = CHECKOUT / source
    return Built(
        sources=sources,
        packages=tuple(sources / package for package in PACKAGES[source]),
        sdist=sdist,
        wheel=wheel,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Every distribution of this repository."""
    folder = tmp_path_factory.mktemp("dist")

    def make(source: str) -> Built:
        return build(source, folder / f"dist-{Path(source).name}")

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PACKAGES, pool.map(make, PACKAGES), strict=True))


@pytest.fixture(scope="module")
def python(built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheels and what they say they need, in the locked versions."""
    folder = tmp_path_factory.mktemp("clean")
    clean(
        BIN / "uv",
        "venv",
        "--quiet",
        "--no-project",
        "--python",
        sys.executable,
        folder / "venv",
        folder=folder,
    )
    interpreter = folder / "venv" / "bin" / "python"
    root = f"agent-orchestrator[conformance] @ {built['.'].wheel.as_uri()}"
    others: list[str | Path] = [one.wheel for source, one in built.items() if source != "."]
    constraints = CHECKOUT / "locks" / "dev.txt"
    install = ("--quiet", "--python", interpreter, "--constraint", constraints)
    clean(BIN / "uv", "pip", "install", *install, root, *others, folder=folder)
    return interpreter


def test_a_wheel_holds_what_its_packages_hold_and_nothing_else(built: dict[str, Built]) -> None:
    for source, one in built.items():
        with zipfile.ZipFile(one.wheel) as wheel:
            held = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
        wanted = {
            str(path.relative_to(package.parent)): path.read_bytes()
            for package in one.packages
            for path in repository_files(package)
        }
        assert held == wanted, f"{source}: {sorted(held.keys() ^ wanted.keys())}"


def test_data_that_is_read_at_run_time_is_inside(built: dict[str, Built]) -> None:
    contract, root = "orchestrator_runtimes", "orchestrator_resources/embedded_model"
    needed = {
        "runtimes/contract": [
            f"{contract}/contract.schema.json",
            f"{contract}/conformance/native_agents/cases.json",
            f"{contract}/conformance/tools_bundle/suite_tools.py",
            f"{contract}/conformance/mcp_server.py",
        ],
        "marketplace": [
            f"orchestrator_marketplace/page/{name}"
            for name in ("index.html", "page.js", "page.css", "markdown.js")
        ],
        ".": [f"{root}/{name}" for name in ("chat_template.jinja", "lock.txt", "server.py", "front.py")],
    }
    for name, profile in installed_frameworks().items():
        own = ["lock.txt", "lock.in", "native_agents/cases.json", f"templates/{profile.template}"]
        own += ["package.json", "package-lock.json", "guest/hook.js"] if profile.node_lock_file else []
        needed[f"runtimes/{name}"] = [f"orchestrator_{name}/{file}" for file in own]
    for source, files in needed.items():
        with zipfile.ZipFile(built[source].wheel) as wheel:
            lacking = [file for file in files if file not in wheel.namelist() or not wheel.read(file)]
        assert lacking == [], source


def test_every_sdist_and_wheel_carries_its_licence_and_its_readme(built: dict[str, Built]) -> None:
    licence = (CHECKOUT / "LICENSE").read_bytes()
    for source, one in built.items():
        with tarfile.open(one.sdist) as sdist:
            top = {name.partition("/")[2] for name in sdist.getnames()}
            held = sdist.extractfile(f"{one.sdist.name.removesuffix('.tar.gz')}/LICENSE")
            assert held is not None and held.read() == licence, source
        assert {"README.md", "pyproject.toml", "PKG-INFO"} <= top, source
        assert not [name for name in top if name.startswith(("tests", "var", "tools", ".git/"))], source
        with zipfile.ZipFile(one.wheel) as wheel:
            (copy,) = [name for name in wheel.namelist() if name.endswith("LICENSE")]
            assert wheel.read(copy) == licence, source
            (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
            told = wheel.read(metadata).decode()
        assert "License-Expression: Apache-2.0" in told and "Requires-Python: <3.14,>=3.11" in told, source


def test_the_contract_needs_nothing(built: dict[str, Built]) -> None:
    with zipfile.ZipFile(built["runtimes/contract"].wheel) as wheel:
        (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
        needs = re.findall(r"^Requires-Dist: (.*)$", wheel.read(metadata).decode(), re.MULTILINE)
    assert needs == ["pytest>=8.4; extra == 'conformance'"]


def test_every_module_is_imported_from_the_wheels(python: Path, tmp_path: Path) -> None:
    names = [Path(package).name for packages in PACKAGES.values() for package in packages]
    found, missing = json.loads(clean(python, "-I", "-c", IMPORT_ALL, *names, folder=tmp_path))
    assert all(Path(file).is_relative_to(python.parents[1]) for file in found.values())
    assert {module: name for module, name in missing.items() if not module.startswith(ADAPTERS)} == ELSEWHERE
    assert {name.partition(".")[0] for name in found} == set(names)
    assert {f"orchestrator_{name}.profile" for name in FRAMEWORKS} <= found.keys()
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for source, packages in PACKAGES.items()
        for package in (CHECKOUT / source / one for one in packages)
        for path in package.rglob("*.py")
        if (path.parent / "__init__.py").exists() and path.stem not in ("__init__", "__main__")
    }
    assert modules <= {*found, *missing}


def test_the_command_line_works_from_the_wheels(python: Path, tmp_path: Path) -> None:
    said = clean(
        python.with_name("orchestrator"), "runtimes", "list", folder=tmp_path, ORCHESTRATOR_HOME=str(tmp_path)
    )
    assert [line.split()[0] for line in said.splitlines()[1:]] == FRAMEWORKS
    listed = clean(python.with_name("dg"), "list", "components", "--json", folder=tmp_path)
    assert "orchestrator_assets.AgentComponent" in listed


def test_every_framework_starts_with_the_adapter_of_its_wheel(
    python: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    environment = {
        "ORCHESTRATOR_HOME": str(home_folder()),
        "ORCHESTRATOR_MODEL_URL": endpoint.script("wheels", Script()),
    }
    said = clean(python.with_name("orchestrator"), "runtimes", "doctor", folder=tmp_path, **environment)
    for name in FRAMEWORKS:
        assert re.search(rf"^ok   {name}: .* starts, on Python", said, re.MULTILINE), (
            f"run `make runtimes`\n{said}"
        )


def test_the_conformance_suite_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    words = ["-m", "pytest", "-p", "orchestrator_runtimes.conformance.plugin", "--pyargs"]
    words += ["orchestrator_runtimes.conformance", "--framework=fake", "-q", "-p", "no:cacheprovider"]
    said = clean(python, *words, "-k", "test_run or wrong_entrypoint", folder=tmp_path)
    assert re.search(r"^\d\d passed, \d+ deselected", said.splitlines()[-1]), said
