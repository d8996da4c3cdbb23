"""What the transfer of files counts; no label names a person or a file."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class TransferMetrics:
    """The counters of the hub's side, in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bytes = Counter(
            "hub_transfer_bytes",
            "Bytes of files: received, repeated (were here already), corrupt, fetched.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.files = Counter(
            "hub_transfer_files",
            "Files: complete, known (were here already), refused, withdrawn.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.faults = Counter("hub_transfer_faults", "Calls that were ended, by reason.", ["reason"], registry=registry)
        self.calls = Gauge("hub_transfer_calls", "Calls of nodes that are open.", registry=registry)
