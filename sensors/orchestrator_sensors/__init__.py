"""What happens elsewhere becomes runs, and what is made here goes out: bundles both ways."""

from orchestrator_sensors.bundle_release_component import BundleReleaseComponent
from orchestrator_sensors.openlineage_component import OpenLineageComponent
from orchestrator_sensors.published_agent_component import PublishedAgentComponent

__all__ = ["BundleReleaseComponent", "OpenLineageComponent", "PublishedAgentComponent"]
