"""Model bundles at the node: checked, tried, run in a process of their own, rolled back.  May import what telemed has.

The engines' libraries are imported by the worker process alone, never by the node's.
"""
