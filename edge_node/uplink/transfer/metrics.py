"""What the transfer of files counts on the node; no label names a person or a file."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class TransferMetrics:
    """The counters of the node's side."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bytes = Counter(
            "edge_transfer_bytes",
            "Bytes of files: sent (each time, as they cross the wire), durable (at the hub), fetched, corrupt.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.files = Counter(
            "edge_transfer_files",
            "Files: done, refused, fetched.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.waiting = Gauge(
            "edge_transfer_waiting_bytes", "Bytes of files that the hub does not have yet.", ["kind"], registry=registry
        )
