"""Tele-consultation at the node: a child process for media, and what the node's own process needs to talk to it.

`router` and `host` run in the node's process; `process`, `peer`, `camera`, `microphone` and `tracks` in the child,
so that a stalled encoder never touches vitals or alarms.  Imports config, errors and the contracts only.
"""
