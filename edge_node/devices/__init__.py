"""Drivers, one folder a device family.

A driver turns bytes of devices into `edge_node.samples` types and pushes them to `deliver`; it imports
`samples`, `config`, `errors` and `telemed`, never another stage.
"""
