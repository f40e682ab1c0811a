"""pytest plug-in of the suite: which guest to test, and the matrix of what was proved.

`pytest -p orchestrator_runtimes.conformance.plugin --pyargs orchestrator_runtimes.conformance --framework NAME`
"""

import json
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread
from orchestrator_runtimes.conformance.target import Target, native_cases
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("conformance")
    group.addoption("--framework", default="fake", help="name of an installed framework; default: the fake")
    group.addoption(
        "--guest-python", default=sys.executable, help="interpreter of the framework's environment"
    )
    group.addoption(
        "--guest-server",
        type=Path,
        help="socket of a guest server that starts the guest instead, two of them at times",
    )
    group.addoption(
        "--model-address",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="where the scripted model listens; for a guest that is locked to its port, 127.0.0.2 and that port",
    )
    group.addoption("--guest-environment", action="append", default=[], metavar="NAME=VALUE")
    group.addoption("--matrix", type=Path, help="file that the matrix is added to, as a line of JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Make the suite's marker known and read the profile once."""
    config.addinivalue_line("markers", "capability(name): what the test proves")
    config.stash[_PROFILE] = _profile(config.option.framework)
    config.stash[_PROVED] = {}


_PROFILE = pytest.StashKey[FrameworkProfile]()
_PROVED = pytest.StashKey[dict[str, list[bool]]]()


def _profile(name: str) -> FrameworkProfile:
    if name == FAKE.name:
        return FAKE
    frameworks = installed_frameworks()
    if name not in frameworks:
        raise pytest.UsageError(
            f"no framework {name!r} is installed; there are {', '.join(sorted(frameworks))}"
        )
    return frameworks[name]


def _capability(item: pytest.Item) -> Capability | None:
    marker = item.get_closest_marker("capability")
    return Capability(marker.args[0]) if marker else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each native agent that the adapter ships: a `native_case` ends, a `waiting_case` asks first."""
    cases = native_cases(metafunc.config.stash[_PROFILE])
    for name, waits in (("native_case", False), ("waiting_case", True)):
        if name in metafunc.fixturenames:
            chosen = [case for case in cases if (case.decision is not None) == waits]
            metafunc.parametrize(name, chosen, ids=lambda case: case.name.replace(" ", "-"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the adapter says it cannot do; the matrix shows its reason instead."""
    supported = {c for c, support in config.stash[_PROFILE].capabilities.items() if support.supported}
    left_out = [item for item in items if (c := _capability(item)) is not None and c not in supported]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Iterator[ModelEndpoint]:
    """The scripted model."""
    host, _, port = request.config.option.model_address.rpartition(":")
    with run_in_thread(ModelEndpoint(host=host, port=int(port))) as running:
        yield running


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, endpoint: ModelEndpoint) -> Iterator[Target]:
    """The guest under test, started once."""
    profile = request.config.stash[_PROFILE]
    extra = dict(item.split("=", 1) for item in request.config.option.guest_environment)
    options = request.config.option
    command = GuestCommand.of(
        profile, Path(options.guest_python), environment=extra, served=options.guest_server
    )
    target = Target(command.own if command.served else command, profile, endpoint)
    yield target
    target.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which capability a test proved or failed to prove."""
    report = yield
    capability = _capability(item)
    if capability is not None and (call.when == "call" or report.failed):
        item.config.stash[_PROVED].setdefault(capability.value, []).append(report.passed)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the matrix."""
    path: Path | None = session.config.option.matrix
    if path is None:
        return
    profile, proved = session.config.stash[_PROFILE], session.config.stash[_PROVED]
    row = {
        "framework": profile.name,
        "version": session.config.stash.get(_VERSION, ""),
        "capabilities": {
            c.value: {
                "supported": support.supported,
                "reason": support.reason,
                "proofs": len(proved.get(c.value, [])),
                "failed": proved.get(c.value, []).count(False),
            }
            for c, support in profile.capabilities.items()
        },
    }
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


_VERSION = pytest.StashKey[str]()


@pytest.fixture(scope="session", autouse=True)
def noted_version(target: Target, request: pytest.FixtureRequest) -> None:
    """Note the framework's version for the matrix."""
    request.config.stash[_VERSION] = target.guest.client.runtime.framework_version
