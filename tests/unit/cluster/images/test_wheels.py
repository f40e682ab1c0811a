import base64
import csv
import hashlib
import io
import tomllib
import zipfile
from pathlib import Path

import pytest

from orchestrator_cluster.images.recipes import CONTRACT, GATEWAY, MARKETPLACE, PLATFORM, all_recipes
from orchestrator_cluster.images.wheels import ImageError, OwnDistribution

CHECKOUT = Path(__file__).parents[4]
SOURCES = {
    PLATFORM: ".",
    CONTRACT: "runtimes/contract",
    GATEWAY: "gateway",
    MARKETPLACE: "marketplace",
}


@pytest.mark.parametrize("own", SOURCES, ids=lambda own: own.name)
def test_a_wheel_holds_what_is_released(own: OwnDistribution) -> None:
    project = tomllib.loads((CHECKOUT / SOURCES[own] / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(own.packages) == sorted(Path(package).name for package in packages)
    assert own.name == project["project"]["name"]
    names = zipfile.ZipFile(io.BytesIO(own.wheel())).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(own.packages)
    assert not [name for name in names if "__pycache__" in name]


def test_a_wheel_vouches_for_each_of_its_files() -> None:
    wheel = zipfile.ZipFile(io.BytesIO(PLATFORM.wheel()))
    (record,) = [name for name in wheel.namelist() if name.endswith("/RECORD")]
    listed = {
        name: (digest, size) for name, digest, size in csv.reader(io.StringIO(wheel.read(record).decode()))
    }
    assert listed.pop(record) == ("", "")
    assert listed.keys() == set(wheel.namelist()) - {record}
    for name, (digest, size) in listed.items():
        content = wheel.read(name)
        wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        assert (digest, int(size)) == (f"sha256={wanted}", len(content)), name


def test_the_command_line_and_the_frameworks_are_found_through_wheels() -> None:
    told = {
        own.name: zipfile.ZipFile(io.BytesIO(own.wheel()))
        for recipe in all_recipes()
        for own in recipe.distributions
    }
    for name, entry in (
        ("agent-orchestrator", "orchestrator = orchestrator_defs.cli:main"),
        ("orchestrator-agno", "agno = orchestrator_agno.profile:PROFILE"),
    ):
        (points,) = [one for one in told[name].namelist() if one.endswith("/entry_points.txt")]
        assert entry in told[name].read(points).decode()


def test_the_same_code_makes_the_same_bytes() -> None:
    assert CONTRACT.wheel() == CONTRACT.wheel()


def test_a_distribution_that_is_not_here_is_named() -> None:
    with pytest.raises(ImageError, match="the distribution 'orchestrator-nothing' is not installed here"):
        OwnDistribution(name="orchestrator-nothing", packages=()).wheel()
