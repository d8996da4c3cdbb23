"""Simulated bedside monitors: a process of its own that speaks HL7 v2 over MLLP like a monitor.

Not part of the edge process: NeuroKit2 is imported by `templates` alone.  `python -m edge_node.devices.simulated`.
"""
