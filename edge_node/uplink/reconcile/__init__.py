"""Nightly comparison of what the node still holds with what the hub stores; knows buffer, scheduler and gRPC way."""
