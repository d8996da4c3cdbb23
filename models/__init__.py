"""Models and what trains, measures and exports them.

Imports the contracts in `telemed`, never `edge_node` or `cloud_hub`; nothing imports it.
"""
