"""The images of this project, as data: which there are, and what each is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Final

from orchestrator_cluster.images.wheels import OwnDistribution
from orchestrator_cluster.pods import GUEST_USER, GUESTS, RUN_USER
from orchestrator_resources.runtime_profiles import load_profile
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.profiles import ENTRY_POINT_GROUP, FrameworkProfile, installed_frameworks

CONTRACT: Final = OwnDistribution(name="orchestrator-runtimes", packages=("orchestrator_runtimes",))
GATEWAY: Final = OwnDistribution(name="orchestrator-gateway", packages=("orchestrator_gateway",))
MARKETPLACE: Final = OwnDistribution(name="orchestrator-marketplace", packages=("orchestrator_marketplace",))
PLATFORM: Final = OwnDistribution(
    name="agent-orchestrator",
    packages=(
        "orchestrator_assets",
        "orchestrator_cluster",
        "orchestrator_defs",
        "orchestrator_resources",
        "orchestrator_sensors",
        "orchestrator_tenancy",
    ),
)
GATEWAY_USER: Final = 10_200
"""Of none of a run's containers, which count upwards from `GUEST_USER`."""

PORTS: Final = {"web": 3_000, "gateway": 8_900}
"""What the containers of these images listen at, unless their command says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What an image is made of.

    Attributes:
        name: What people call it: `dagster`, `web`, `gateway`, a framework, or a runtime profile.
        kind: What it does.
        licence: SPDX expression of what is in it beside this project's own code.
        lock: Its environment.
        distributions: Ours that are in it.
        command: What its container runs when it is told nothing else.
        user: Who runs it.
        notice: What whoever builds it must know of the licence; an image with one is pushed only when that is asked
            for. Empty when there is nothing unusual.
    """

    name: str
    kind: str
    licence: str
    lock: Lock
    distributions: tuple[OwnDistribution, ...]
    command: tuple[str, ...]
    user: int
    notice: str = ""

    @property
    def image(self) -> str:
        """The image's name, without a registry and a tag."""
        return f"orchestrator-{self.name}"


def all_recipes() -> list[Recipe]:
    """Return the recipes of all images but those of runtime profiles."""
    return [dagster(), web(), gateway(), *(runtime(profile) for profile in installed_frameworks().values())]


def recipes_of(names: Sequence[str]) -> list[Recipe]:
    """Return the recipes of names: `dagster`, `web`, `gateway`, a framework, or the file of a runtime profile.

    Raises:
        AgentError: `agent_load_failed` when a name is none, or a profile cannot be used.
    """
    own = {recipe.name: recipe for recipe in (dagster(), web(), gateway())}
    return [own[name] if name in own else _runtime_named(name) for name in names]


def _runtime_named(name: str) -> Recipe:
    if name.endswith(".toml"):
        return runtime(load_profile(Path(name)), name=Path(name).stem)
    return runtime(framework(name))


def dagster() -> Recipe:
    """Return the image of the trusted side: runs, code servers, the daemon."""
    return Recipe(
        name="dagster",
        kind="runs, code servers, daemon",
        licence="Apache-2.0",
        lock=_lock("dagster"),
        distributions=(CONTRACT, GATEWAY, MARKETPLACE, PLATFORM, *_adapters()),
        command=("dagster-daemon", "run"),
        user=RUN_USER,
    )


def web() -> Recipe:
    """Return the image of the web server; it has all its layers in common with `dagster`."""
    trusted = dagster()
    return Recipe(
        name="web",
        kind="web server",
        licence=trusted.licence,
        lock=trusted.lock,
        distributions=trusted.distributions,
        command=("dagster-webserver", "--host", "0.0.0.0", "--port", str(PORTS["web"])),
        user=RUN_USER,
    )


def gateway() -> Recipe:
    """Return the image of the gateway; its configuration is mounted at the path that its command names."""
    command = ("python", "-m", "orchestrator_gateway.service", "--config", "/etc/orchestrator/gateway.yaml")
    return Recipe(
        name="gateway",
        kind="gateway",
        licence="Apache-2.0",
        lock=_lock("gateway"),
        distributions=(CONTRACT, GATEWAY),
        command=(*command, "--host", "0.0.0.0", "--port", str(PORTS["gateway"])),
        user=GATEWAY_USER,
    )


def runtime(profile: FrameworkProfile, name: str | None = None) -> Recipe:
    """Return the image of a runtime's guest servers; `name` is that of a runtime profile, None the framework's."""
    command = ("python", "-m", "orchestrator_runtimes.guest_server", "--framework", profile.name)
    return Recipe(
        name=profile.name if name is None else f"{profile.name}-{name}",
        kind=f"guests of {profile.title}",
        licence=profile.licence,
        lock=profile.lock(),
        distributions=(CONTRACT, _adapter(profile)),
        command=(*command, "--folder", GUESTS),
        user=GUEST_USER,
        notice=profile.notice,
    )


def _adapters() -> list[OwnDistribution]:
    """Return those of all frameworks: the trusted side knows what each needs, and imports none."""
    return [_adapter(profile) for profile in installed_frameworks().values()]


def _adapter(profile: FrameworkProfile) -> OwnDistribution:
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name=profile.name)
    assert point.dist is not None  # an installed profile came from one
    return OwnDistribution(name=point.dist.name, packages=(profile.package.partition(".")[0],))


def _lock(name: str) -> Lock:
    return Lock(python=files("orchestrator_cluster.images").joinpath(f"{name}.txt").read_text())
