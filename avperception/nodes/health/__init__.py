"""How the node and what feeds it are: rates, ages, latencies, losses, the GPU, and what a network knows."""

from avperception.nodes.health.monitor import HealthMonitor

__all__ = ["HealthMonitor"]
