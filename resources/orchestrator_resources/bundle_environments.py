"""What a bundle runs in: its framework, with the runtime profile that its manifest names."""

from pathlib import Path

from orchestrator_marketplace.folders import check_framework
from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_resources.runtime_profiles import load_profile
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.profiles import FrameworkProfile


def bundle_runtime(manifest: Manifest, folder: Path) -> FrameworkProfile:
    """Return what a bundle's agent runs in; its lock is that of the bundle.

    Args:
        manifest: Of the bundle.
        folder: Where its runtime profile lies, where it has one.

    Raises:
        AgentError: `agent_load_failed`: the framework is not installed, or the profile cannot be used.
        BundleRefused: `malformed`: the entrypoint or the profile is of another framework's kind.
    """
    runtime = framework(manifest.framework)
    check_framework(manifest, runtime)
    if manifest.profile is None:
        return runtime
    profile = load_profile(folder / manifest.profile)
    if profile.name != manifest.framework:
        raise BundleRefused(
            Refusal.MALFORMED,
            f"{manifest.profile}: is of the framework {profile.name}, and the bundle of {manifest.framework}",
        )
    return profile
