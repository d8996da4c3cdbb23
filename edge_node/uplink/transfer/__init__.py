"""Resumable transfer of files over gRPC: a durable queue, a spool, and the two directions.

May import the buffer's failpoints, `telemed` and the configuration; nothing above the uplink.
"""
