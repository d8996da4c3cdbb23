"""The receiver's rig, for tests that speak to it."""

from tests.edge_node.devices.hl7_monitor.conftest import rig

__all__ = ["rig"]
