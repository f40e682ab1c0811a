"""What happens elsewhere becomes runs: publishes of bundles."""

from orchestrator_sensors.published_agent_component import PublishedAgentComponent

__all__ = ["PublishedAgentComponent"]
