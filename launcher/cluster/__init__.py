"""Sources: where the node list comes from. Each turns a request into a `Cluster`."""

from launcher.cluster.machine import Machine
from launcher.cluster.source import ClusterRequest, resolve

__all__ = ["ClusterRequest", "Machine", "resolve"]
